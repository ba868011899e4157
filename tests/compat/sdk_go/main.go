// The AWS SDK for Go, version 2, with its defaults. Arguments: a bucket.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func expect(right bool, what string) {
	if !right {
		panic(what)
	}
}

func codeOf(err error) string {
	var refused smithy.APIError
	if errors.As(err, &refused) {
		return refused.ErrorCode()
	}
	return ""
}

func main() {
	bucket, ctx := aws.String(os.Args[1]), context.Background()
	settings, err := config.LoadDefaultConfig(ctx)
	check(err)
	client := s3.NewFromConfig(settings, func(options *s3.Options) { options.UsePathStyle = true })

	large := make([]byte, 11_000_000)
	_, err = rand.Read(large)
	check(err)
	key := aws.String("a b/+large")
	uploader := manager.NewUploader(client)
	_, err = uploader.Upload(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: bytes.NewReader(large)})
	check(err)
	back := manager.NewWriteAtBuffer(nil)
	_, err = manager.NewDownloader(client).Download(ctx, back, &s3.GetObjectInput{Bucket: bucket, Key: key})
	check(err)
	expect(bytes.Equal(back.Bytes(), large), "the content differs")

	small := &s3.PutObjectInput{Bucket: bucket, Key: aws.String("small"), Body: strings.NewReader("s")}
	small.Metadata = map[string]string{"colour": "red"}
	_, err = client.PutObject(ctx, small)
	check(err)
	head, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: small.Key})
	check(err)
	expect(*head.ContentLength == 1 && head.Metadata["colour"] == "red", "the metadata differs")
	small.Body, small.IfNoneMatch = strings.NewReader("t"), aws.String("*")
	_, err = client.PutObject(ctx, small)
	expect(codeOf(err) == "PreconditionFailed", "a conditional write was not refused")
	source := aws.String(*bucket + "/small")
	_, err = client.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: source})
	check(err)

	var doomed []types.ObjectIdentifier
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: bucket, MaxKeys: aws.Int32(2)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		check(err)
		for _, each := range page.Contents {
			doomed = append(doomed, types.ObjectIdentifier{Key: each.Key})
		}
	}
	expect(len(doomed) == 3, "the listing differs")

	link, err := s3.NewPresignClient(client).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: small.Key})
	check(err)
	answer, err := http.Get(link.URL)
	check(err)
	content, err := io.ReadAll(answer.Body)
	check(err)
	expect(string(content) == "s", "the link leads elsewhere")
	_, err = client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("absent")})
	expect(codeOf(err) == "NoSuchKey", "an absent object was not refused")
	gone, err := client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: doomed}})
	check(err)
	expect(len(gone.Deleted) == 3, "not all was deleted")
	fmt.Println("ok")
}
