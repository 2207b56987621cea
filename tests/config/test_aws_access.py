"""A provider at AWS: one way to prove who asks, and each likely mistake located."""

from pathlib import Path

import pytest

from router.config import check_aws
from router.config.aws_access import AwsAccess, aws_host
from router.config.compile import compile_snapshot
from tests.config.samples import loaded, problems

FILE = """\
providers:
  aws:
    type: bedrock
{keys}
model_catalog:
  - {{alias: a, targets: [{{provider: aws, model: anthropic.claude-sonnet-5}}], price: {{input: 1, output: 2}}}}
"""


def file(*keys: str) -> str:
    return FILE.format(keys="\n".join(f"    {key}" for key in keys))


REGION = "region: eu-central-1"
PAIR = ("access_key_id: AKID", "secret_access_key: secret")


@pytest.mark.parametrize(
    ("keys", "line", "told"),
    [
        (PAIR, 2, "the key region"),
        ((REGION,), 2, "default_credentials"),
        ((REGION, 'access_key_id: ""'), 5, "an empty credential"),
        ((REGION, "access_key_id: AKID"), 5, "no secret_access_key"),
        ((REGION, "secret_access_key: s"), 5, "no access_key_id"),
        ((REGION, *PAIR, "api_key: ABSK"), 5, "api_key and access_key_id"),
        ((REGION, *PAIR, "profile: work"), 5, "profile and access_key_id"),
        ((REGION, "api_key: ABSK", "role_arn: arn:aws:iam::123456789012:role/x"), 6, "role_arn beside an API key"),
        ((REGION, *PAIR, "external_id: x"), 7, "external_id without role_arn"),
        (("region: Frankfurt", *PAIR), 4, "a region of AWS"),
        ((REGION, *PAIR, "role_arn: gateway"), 7, "the ARN of a role"),
        ((REGION, *PAIR, "endpoint: https://x.test"), 7, "the key endpoint"),
        ((REGION, *PAIR, "regoin: x"), 7, "regoin"),
    ],
)
def test_a_mistake_is_told_where_it_is(tmp_path: Path, keys: tuple[str, ...], line: int, told: str) -> None:
    found = problems(tmp_path, file(*keys))
    assert any(told in problem.render() and problem.mark.line == line for problem in found), [p.render() for p in found]
    assert not any("AKID" in problem.render() for problem in found)


@pytest.mark.parametrize("key", ["profile: work", "default_credentials: true", "role_arn: arn:aws:iam::123456789012:role/x"])
def test_what_only_botocore_can_do_needs_it(tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_aws, "has_chain", lambda: False)
    [problem] = problems(tmp_path, file(REGION, key))
    assert "routerd[aws]" in problem.render() and problem.mark.line == 5
    monkeypatch.setattr(check_aws, "has_chain", lambda: True)
    assert not problems(tmp_path, file(REGION, key))


def test_a_provider_has_the_address_of_its_region_and_shows_no_secret(tmp_path: Path) -> None:
    text = file(REGION, *PAIR, "session_token: passing")
    spec = compile_snapshot(loaded(tmp_path, text)).providers["aws"]
    assert spec.base_url == "https://bedrock-runtime.eu-central-1.amazonaws.com"
    assert spec.options["aws"] == AwsAccess("eu-central-1", "AKID", "secret", "passing")
    assert not any(word in repr(spec) for word in ("AKID", "secret", "passing"))


def test_hosts_are_those_that_botocore_knows() -> None:
    pytest.importorskip("botocore", reason="botocore is the reference, and is not installed")
    from botocore.session import Session

    session = Session()
    for region in ("us-east-1", "cn-north-1", "us-gov-west-1", "us-iso-east-1", "us-isob-east-1", "eusc-de-east-1"):
        client = session.create_client("bedrock-runtime", region, aws_access_key_id="a", aws_secret_access_key="b")
        assert client.meta.endpoint_url == aws_host("bedrock-runtime", region)
        client.close()
