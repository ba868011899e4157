"""proxy.toml: the public tier."""

import re
from typing import Annotated

from msgspec import Meta, Struct

from objstore.config.sections import (
    BackendConfig,
    HealthcheckConfig,
    IdentityClientConfig,
    LogConfig,
    MetricsConfig,
    ProxyServerConfig,
    ReconConfig,
    ReplicationConfig,
)
from objstore.config.units import Bytes, Count, Positive, Seconds, Secret

_METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")
_DIGESTS = ("sha1", "sha256", "sha512")


def check_domains(domains: tuple[str, ...]) -> None:
    """Raises ValueError."""
    for domain in domains:
        if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*", domain):
            raise ValueError(f"a domain is made of labels of small letters, digits and hyphens: {domain!r}")


class AccountsConfig(Struct, frozen=True):
    """[accounts]: how accounts come and go."""

    allow_account_management: bool = False
    account_autocreate: bool = False
    max_containers_per_account: Count = 0
    max_containers_whitelist: tuple[str, ...] = ()


class ObjectsConfig(Struct, frozen=True):
    """[objects]: which requests objects accept."""

    allow_open_expired: bool = False
    allow_versioned_writes: bool = True
    allow_object_versioning: bool = True


class LargeObjectsConfig(Struct, frozen=True):
    """[large_objects]: how fast objects of many small segments may be read; each segment costs a request of its own."""

    rate_limit_after_segment: Count = 10
    rate_limit_segments_per_sec: Count = 1
    rate_limit_under_size: Bytes = 1 << 20
    max_get_time: Seconds = 86_400.0


class AuthConfig(Struct, frozen=True):
    """[auth]: users kept in a file, and the tokens they get.

    shared_users: what `access_keys` holds is kept in the store itself, and the file is this machine's copy.
    The accounts of `service_prefix` belong to services: a request to one of them carries the
    account's token and, beside it, a token of a user in `service_group`.
    """

    users: str = "/etc/objstore/users.toml"
    access_keys: str = "/etc/objstore/access-keys.json"
    shared_users: bool = True
    reseller_prefix: str = "AUTH"
    service_prefix: str = "SERVICE"
    service_group: str = "service"
    token_life: Seconds = 86_400.0
    token_secret: Secret = ""

    def __post_init__(self) -> None:
        for prefix in (self.reseller_prefix, self.service_prefix):
            if not re.fullmatch(r"[A-Za-z0-9]+", prefix):
                raise ValueError(f"a prefix of accounts is made of letters and digits: {prefix!r}")
        if self.reseller_prefix == self.service_prefix:
            raise ValueError("reseller_prefix and service_prefix have to differ")


class ProxyIdentityConfig(IdentityClientConfig, frozen=True):
    """[identity]: an identity service, whose tokens and access keys are good beside those of the file's users.

    A project's account is that of its id. Its owners are the users with a role of `operator_roles`; those with one of
    `reader_roles` may read it, or in a token for the system all accounts; `reseller_admin_role` may do all.
    """

    operator_roles: tuple[str, ...] = ("admin", "member", "swiftoperator")
    reader_roles: tuple[str, ...] = ("reader",)
    reseller_admin_role: str = "ResellerAdmin"


class CacheConfig(Struct, frozen=True):
    """[cache]: the memcached servers that all proxies share; none means a cache of each process's own."""

    memcached: tuple[str, ...] = ()
    recheck_account_existence: Seconds = 60.0
    recheck_container_existence: Seconds = 60.0


class ProxyBackendConfig(BackendConfig, frozen=True):
    post_quorum_timeout: Seconds = 1.5
    error_suppression_interval: Seconds = 60.0
    error_suppression_limit: Count = 10


class ProxyLogConfig(LogConfig, frozen=True):
    reveal_sensitive_prefix: Count = 16


class CapabilitiesConfig(Struct, frozen=True):
    """[info]: what /info tells of the store."""

    expose: bool = True
    admin_key: Secret = ""
    disallowed_sections: tuple[str, ...] = ("swift.auto_create_account_prefix", "swift.valid_api_versions")


class S3Config(Struct, frozen=True):
    """[s3]: the S3 API.

    A request whose host is a name below one of the `domains` names its bucket there; below one of `website_domains` it
    is for the website of that bucket, and a host that is one of them is a bucket of this name. `region` is the one that
    clients are told. Signatures are good for the `signing_regions` and us-east-1, without any for all regions.
    Lines of access logs that buckets have set wait in memory for `access_log_interval`. An object of one of the
    `storage_classes` lies in that policy, so in a bucket that has it.
    """

    enabled: bool = True
    region: str = "us-east-1"
    domains: tuple[str, ...] = ()
    website_domains: tuple[str, ...] = ()
    signing_regions: tuple[str, ...] = ()
    access_log_interval: Seconds = 300.0
    storage_classes: tuple[str, ...] = ()

    @property
    def policies_of_classes(self) -> dict[str, str]:
        """Storage classes that mean a storage policy, and its name."""
        return {name: policy for name, _, policy in (each.partition("=") for each in self.storage_classes)}

    def __post_init__(self) -> None:
        for each in self.storage_classes:
            if not re.fullmatch(r"(?!STANDARD=)[A-Z_]+=[^=]+", each):
                raise ValueError(f"a storage class is mapped as in 'STANDARD_IA=silver', and not STANDARD: {each!r}")
        if not re.fullmatch(r"[a-z0-9-]{1,64}", self.region):
            raise ValueError(f"a region is made of small letters, digits and hyphens: {self.region!r}")
        check_domains((*self.domains, *self.website_domains))


class LifecycleConfig(Struct, frozen=True):
    """[lifecycle]: the daemon that deletes what the lifecycle of buckets wants to be gone.

    It looks for buckets that are due every `interval`. `objects_per_second` counts those it looks at; 0 is without
    limit.
    """

    interval: Seconds = 300.0
    concurrency: Positive = 4
    objects_per_second: Count = 1000


class EncryptionConfig(Struct, frozen=True):
    """[encryption]: the file of the secrets that objects are encrypted under; without it none can be."""

    keys: str = "/etc/objstore/encryption-keys.json"


class TempUrlConfig(Struct, frozen=True):
    """[temp_url]: temporary URLs and forms, whose signatures take the place of a token. No methods: there are none."""

    methods: tuple[str, ...] = ("GET", "HEAD", "PUT", "POST", "DELETE")
    digests: tuple[str, ...] = ("sha1", "sha256", "sha512")

    def __post_init__(self) -> None:
        for name, given, known in (("method", self.methods, _METHODS), ("digest", self.digests, _DIGESTS)):
            if not set(given) <= set(known):
                raise ValueError(f"a {name} is one of {', '.join(known)}")


class DomainRemapConfig(Struct, frozen=True):
    """[domain_remap]: hosts that name an account, or a container of one, below one of the `storage_domains`.

    An account without a prefix has the `default_reseller_prefix`. Other hosts are looked up as CNAMEs of such ones, up
    to `cname_lookup_depth` times; 0 is never.
    """

    storage_domains: tuple[str, ...] = ()
    default_reseller_prefix: str = ""
    cname_lookup_depth: Count = 0

    def __post_init__(self) -> None:
        check_domains(self.storage_domains)


class EtagQuoterConfig(Struct, frozen=True):
    """[etag_quoter]: ETags in quotation marks, for accounts and containers that ask for it, or for all by default."""

    enabled: bool = False
    enable_by_default: bool = False


class ReadOnlyConfig(Struct, frozen=True):
    """[read_only]: whether accounts may be made read-only by the reseller, and the `store` is it as a whole."""

    enabled: bool = False
    store: bool = False
    allow_deletes: bool = False


# How many objects a container holds, and how many requests a second it may have then.
SizedRate = tuple[Count, Annotated[float, Meta(gt=0)]]


class RateLimitConfig(Struct, frozen=True):
    """[rate_limit]: how often each account and container may be written and listed, a second and proxy; 0: no limit.

    Rates of containers are given for numbers of objects, and lie between them in between; smaller ones have no limit.
    """

    enabled: bool = False
    account_writes: Annotated[float, Meta(ge=0)] = 0.0
    container_writes: tuple[SizedRate, ...] = ()
    container_listings: tuple[SizedRate, ...] = ()
    max_sleep: Seconds = 60.0

    def __post_init__(self) -> None:
        for rates in (self.container_writes, self.container_listings):
            sizes = [objects for objects, _ in rates]
            if sizes != sorted(set(sizes)):
                raise ValueError("rates of containers stand in the order of their objects")


class CrossDomainConfig(Struct, frozen=True):
    """[cross_domain]: the elements of /crossdomain.xml; without any there is none."""

    policy: str = ""


class ListEndpointsConfig(Struct, frozen=True):
    """[list_endpoints]: whether /endpoints/ tells everybody on which servers data is stored."""

    enabled: bool = False


class CorsConfig(Struct, frozen=True):
    """[cors]: pages of which other sites may use the store, beside those that a container names."""

    allow_origin: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    strict: bool = True


class NameCheckConfig(Struct, frozen=True):
    """[name_check]: refuse names that trouble other programs."""

    enabled: bool = False
    forbidden_characters: str = "'\"`<>"
    maximum_length: Count = 255


class ProxyConfig(Struct, frozen=True):
    cluster: str = "/etc/objstore/objstore.toml"
    ring_dir: str = "/etc/objstore"
    transaction_suffix: str = ""
    server: ProxyServerConfig = ProxyServerConfig()
    accounts: AccountsConfig = AccountsConfig()
    objects: ObjectsConfig = ObjectsConfig()
    large_objects: LargeObjectsConfig = LargeObjectsConfig()
    auth: AuthConfig = AuthConfig()
    identity: ProxyIdentityConfig = ProxyIdentityConfig()
    cache: CacheConfig = CacheConfig()
    backend: ProxyBackendConfig = ProxyBackendConfig()
    replication: ReplicationConfig = ReplicationConfig()
    recon: ReconConfig = ReconConfig()
    healthcheck: HealthcheckConfig = HealthcheckConfig()
    info: CapabilitiesConfig = CapabilitiesConfig()
    s3: S3Config = S3Config()
    lifecycle: LifecycleConfig = LifecycleConfig()
    encryption: EncryptionConfig = EncryptionConfig()
    temp_url: TempUrlConfig = TempUrlConfig()
    domain_remap: DomainRemapConfig = DomainRemapConfig()
    etag_quoter: EtagQuoterConfig = EtagQuoterConfig()
    read_only: ReadOnlyConfig = ReadOnlyConfig()
    rate_limit: RateLimitConfig = RateLimitConfig()
    cross_domain: CrossDomainConfig = CrossDomainConfig()
    list_endpoints: ListEndpointsConfig = ListEndpointsConfig()
    cors: CorsConfig = CorsConfig()
    name_check: NameCheckConfig = NameCheckConfig()
    log: ProxyLogConfig = ProxyLogConfig()
    metrics: MetricsConfig = MetricsConfig()
