// What gophercloud, and Terraform's provider on it, do at the services of a cloud: OS_CLIENT_CONFIG_FILE and OS_CLOUD say where.
package main

import (
	"context"
	"log"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/config"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/containers"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/objects"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	ctx := context.Background()
	login, endpoints, tls, err := clouds.Parse()
	must(err)
	provider, err := config.NewProviderClient(ctx, login, config.WithTLSConfig(tls))
	must(err)

	identity, err := openstack.NewIdentityV3(provider, endpoints)
	must(err)
	if valid, err := tokens.Validate(ctx, identity, provider.TokenID); err != nil || !valid {
		log.Fatal("the token does not hold: ", err)
	}
	byToken := gophercloud.AuthOptions{IdentityEndpoint: login.IdentityEndpoint, TokenID: provider.TokenID}
	_, err = openstack.AuthenticatedClient(ctx, byToken)
	must(err)

	store, err := openstack.NewObjectStorageV1(provider, endpoints)
	must(err)
	_, err = containers.Create(ctx, store, "gophercloud", nil).Extract()
	must(err)
	content := objects.CreateOpts{Content: strings.NewReader("hello")}
	_, err = objects.Create(ctx, store, "gophercloud", "greeting", content).Extract()
	must(err)
	download := objects.Download(ctx, store, "gophercloud", "greeting", nil)
	if got, err := download.ExtractContent(); err != nil || string(got) != "hello" {
		log.Fatal("the object is not what was stored: ", err)
	}

	imageClient, err := openstack.NewImageV2(provider, endpoints)
	must(err)
	wanted := images.CreateOpts{Name: "gophercloud", DiskFormat: "raw", ContainerFormat: "bare"}
	image, err := images.Create(ctx, imageClient, wanted).Extract()
	must(err)
	must(images.Delete(ctx, imageClient, image.ID).ExtractErr())

	compute, err := openstack.NewComputeV2(provider, endpoints)
	must(err)
	pages, err := flavors.ListDetail(compute, nil).AllPages(ctx)
	must(err)
	found, err := flavors.ExtractFlavors(pages)
	must(err)
	log.Print("all is as it should be; flavors: ", len(found))
}
