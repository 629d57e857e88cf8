"""A stand-in for Azure's command `az`: the few commands that the programs run here call, answered by the local cloud.

Run by its path with the standard library only, because a credential runs it for every token. It keeps the login in
`AZURE_CONFIG_DIR` as the real one does, asks the identity service for real tokens and the resource manager for real
resources, all by their public names; so it works inside of `workforce local run` only. What it does not know it
refuses as the real one would: usage on the error output, exit code 2.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

LOGIN = "login.json"
_ARM = "https://management.azure.com"
_IMDS = "http://169.254.169.254/metadata/identity/oauth2/token"
_SERVICE_BUS_VERSION = "2024-01-01"
_TIMEOUT_SECONDS = 60.0


def write_login(folder: Path, login: Mapping[str, str]) -> None:
    """Log in: with a `clientSecret` as a service principal, without one as the machine's identity `clientId`."""
    file = folder / LOGIN
    file.touch(mode=0o600)
    file.write_text(json.dumps(login), encoding="utf-8")


def _folder() -> Path:
    return Path(os.environ.get("AZURE_CONFIG_DIR") or Path.home() / ".azure")


def _login() -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads((_folder() / LOGIN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        _fail("Please run 'az login' to setup account.")
    return found


def _fail(message: str, code: int = 1) -> NoReturn:
    sys.stderr.write(f"ERROR: {message}\n")
    sys.exit(code)


def _ask(
    url: str, *, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None,
    method: str | None = None, body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    data = urllib.parse.urlencode(form).encode() if form else json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, headers=dict(headers or {}), method=method)  # noqa: S310 - ours
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310 - the same
            answer: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        _fail(_complaint(error))
    except OSError as error:
        _fail(f"{url}: {error}")
    return answer


def _complaint(error: urllib.error.HTTPError) -> str:
    text = error.read().decode(errors="replace")
    try:
        found = json.loads(text)
    except ValueError:
        return f"HTTP {error.code}: {text[:500]}"
    inner = found.get("error")
    if isinstance(inner, dict):
        return f"({inner.get('code')}) {inner.get('message')}\nCode: {inner.get('code')}"
    return str(found.get("error_description") or inner)


def _token(login: Mapping[str, str], resource: str) -> dict[str, Any]:
    if "clientSecret" not in login:
        query = {"api-version": "2018-02-01", "resource": resource}
        if login.get("clientId"):
            query["client_id"] = login["clientId"]
        return _ask(f"{_IMDS}?{urllib.parse.urlencode(query)}", headers={"Metadata": "true"})
    form = {
        "grant_type": "client_credentials", "client_id": login["clientId"], "client_secret": login["clientSecret"],
        "scope": f"{resource}/.default",
    }  # fmt: skip
    return _ask(f"https://login.microsoftonline.com/{login['tenant']}/oauth2/v2.0/token", form=form)


def _get_access_token(arguments: argparse.Namespace) -> dict[str, Any]:
    login = _login()
    scope = (arguments.scope or [""])[0].removesuffix("/.default")
    answer = _token(login, scope or arguments.resource or _ARM)
    expires = int(answer["expires_on"])
    return {
        "accessToken": answer["access_token"],
        "expiresOn": time.strftime("%Y-%m-%d %H:%M:%S.000000", time.localtime(expires)),
        "expires_on": expires,
        "subscription": login["subscription"],
        "tenant": login["tenant"],
        "tokenType": "Bearer",
    }


def _log_in(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    old = _login()
    new = {"subscription": old["subscription"], "tenant": arguments.tenant or old["tenant"]}
    if arguments.identity:
        new["clientId"] = arguments.client_id or ""
    elif arguments.service_principal and arguments.username and arguments.password:
        new |= {"clientId": arguments.username, "clientSecret": arguments.password}
    else:
        _fail("there is nobody here to log in: give --identity, or --service-principal with -u and -p", 2)
    _token(new, _ARM)
    write_login(_folder(), new)
    return [_account(new)]


def _account(login: Mapping[str, str]) -> dict[str, Any]:
    return {
        "environmentName": "AzureCloud", "id": login["subscription"], "isDefault": True, "name": "local",
        "state": "Enabled", "tenantId": login["tenant"],
        "user": {"name": login.get("clientId") or "systemAssignedIdentity", "type": "servicePrincipal"},
    }  # fmt: skip


def _show_account(_: argparse.Namespace) -> dict[str, Any]:
    return _account(_login())


# -- Service Bus


def _arm(method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    token = _token(_login(), _ARM)["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    url = path if "://" in path else f"{_ARM}{path}?api-version={_SERVICE_BUS_VERSION}"
    return _ask(url, headers=headers, method=method, body=body)


def _topics(arguments: argparse.Namespace) -> str:
    quoted = [urllib.parse.quote(part, safe="") for part in (arguments.resource_group, arguments.namespace_name)]
    home = f"/subscriptions/{_login()['subscription']}/resourceGroups/{quoted[0]}"
    return f"{home}/providers/Microsoft.ServiceBus/namespaces/{quoted[1]}/topics"


def _subscriptions(arguments: argparse.Namespace) -> str:
    return f"{_topics(arguments)}/{urllib.parse.quote(arguments.topic_name, safe='')}/subscriptions"


def _flat(document: dict[str, Any]) -> dict[str, Any]:
    """As the command shows a resource: its properties beside its name."""
    properties: dict[str, Any] = document.get("properties") or {}
    return {**{name: value for name, value in document.items() if name != "properties"}, **properties}


def _listed(path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    following: str | None = path
    while following:
        page = _arm("GET", following)
        found += [_flat(document) for document in page["value"]]
        following = page.get("nextLink")
    return found


def _list_topics(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    return _listed(_topics(arguments))


def _create_topic(arguments: argparse.Namespace) -> dict[str, Any]:
    name = urllib.parse.quote(arguments.name, safe="")
    return _flat(_arm("PUT", f"{_topics(arguments)}/{name}", {"properties": {}}))


def _list_subscriptions(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    return _listed(_subscriptions(arguments))


def _create_subscription(arguments: argparse.Namespace) -> dict[str, Any]:
    name = urllib.parse.quote(arguments.name, safe="")
    return _flat(_arm("PUT", f"{_subscriptions(arguments)}/{name}", {"properties": {}}))


# -- the command line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("az", description=__doc__)
    parser.set_defaults(answer=None)
    top = parser.add_subparsers(required=True)
    login = _verb(top, "login", _log_in)
    login.add_argument("--identity", "-i", action="store_true")
    login.add_argument("--service-principal", action="store_true")
    login.add_argument("--client-id")
    login.add_argument("--username", "-u")
    login.add_argument("--password", "-p")
    login.add_argument("--tenant", "-t")
    account = top.add_parser("account").add_subparsers(required=True)
    _verb(account, "show", _show_account)
    token = _verb(account, "get-access-token", _get_access_token)
    token.add_argument("--resource")
    token.add_argument("--scope", nargs="+")
    token.add_argument("--tenant", "-t")
    topic = top.add_parser("servicebus").add_subparsers(required=True).add_parser("topic").add_subparsers(required=True)
    for name, answer in (("list", _list_topics), ("create", _create_topic)):
        _in_namespace(_verb(topic, name, answer), named=name == "create")
    subscription = topic.add_parser("subscription").add_subparsers(required=True)
    for name, answer in (("list", _list_subscriptions), ("create", _create_subscription)):
        verb = _verb(subscription, name, answer)
        _in_namespace(verb, named=name == "create")
        verb.add_argument("--topic-name", required=True)
    return parser


def _verb(group: Any, name: str, answer: Callable[[argparse.Namespace], Any]) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = group.add_parser(name)
    verb.add_argument("--output", "-o", choices=["json"])
    verb.add_argument("--subscription")
    verb.set_defaults(answer=answer)
    return verb


def _in_namespace(verb: argparse.ArgumentParser, *, named: bool) -> None:
    verb.add_argument("--resource-group", "-g", required=True)
    verb.add_argument("--namespace-name", required=True)
    if named:
        verb.add_argument("--name", "-n", required=True)


def main() -> None:
    """Answer one command."""
    arguments = _parser().parse_args()
    json.dump(arguments.answer(arguments), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
