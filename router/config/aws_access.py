"""How a provider at AWS is reached and who signs for it, as the file says it: where the host is, which keys, or whose."""

from dataclasses import dataclass, field
from importlib.util import find_spec

from router.config.schema_catalog import ProviderConfig

SERVICE = "bedrock"
CHAIN_KEYS = ("profile", "default_credentials", "role_arn")
"""What only botocore can resolve."""

# The partitions of AWS by the beginnings of their regions' names; everywhere else it is amazonaws.com.
_SUFFIXES = (
    ("cn-", "amazonaws.com.cn"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("eusc-", "amazonaws.eu"),
)


@dataclass(frozen=True, slots=True)
class AwsAccess:
    """`access_key_id` "" where the keys come from a profile or the default chain. A role is assumed with the rest.

    No secret of it is ever shown: its repr names the region and where the keys come from.
    """

    region: str
    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    profile: str = ""
    is_default: bool = False
    role_arn: str = ""
    external_id: str = field(default="", repr=False)

    @property
    def signs(self) -> bool:
        """False: requests carry an API key of Bedrock's instead of a signature."""
        return bool(self.access_key_id) or self.needs_chain

    @property
    def needs_chain(self) -> bool:
        return bool(self.profile or self.is_default or self.role_arn)


def aws_access(config: ProviderConfig) -> AwsAccess:
    return AwsAccess(
        config.region,
        config.access_key_id,
        config.secret_access_key,
        config.session_token,
        config.profile,
        config.default_credentials,
        config.role_arn,
        config.external_id,
    )


def aws_host(service: str, region: str) -> str:
    """The address of a regional service, as AWS names them."""
    suffix = next((suffix for prefix, suffix in _SUFFIXES if region.startswith(prefix)), "amazonaws.com")
    return f"https://{service}.{region}.{suffix}"


def has_chain() -> bool:
    """Whether botocore is installed, without importing it."""
    return find_spec("botocore") is not None
