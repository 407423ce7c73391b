"""Known vulnerabilities of the packages that are installed here, by the database at osv.dev: one request, with names and versions.

Usage: python tools/audit.py [--address URL]

Ends with 1 where one is known; where the database does not answer it says that it was skipped, and ends with 0.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from http.client import HTTPException
from importlib import metadata
from urllib.error import URLError
from urllib.request import Request, urlopen

ADDRESS = "https://api.osv.dev/v1/querybatch"
OWN = "neurosam2"
LIMIT_S = 20.0
Package = tuple[str, str]
"""Name and version."""


def installed() -> list[Package]:
    """The packages of this environment but our own, without what a version says of its build."""
    found = {(one.name, one.version.partition("+")[0]) for one in metadata.distributions() if one.name != OWN}
    return sorted(found, key=lambda package: package[0].lower())


def vulnerabilities(packages: Sequence[Package], address: str) -> dict[Package, list[str]]:
    """The identifiers of what is known of each package of which something is known.

    Raises:
        OSError: The database does not answer.
        ValueError: It answers something else.
    """
    queries = [{"package": {"name": name, "ecosystem": "PyPI"}, "version": version} for name, version in packages]
    request = Request(address, json.dumps({"queries": queries}).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=LIMIT_S) as answer:
        args = json.load(answer)
    try:
        known = [[one["id"] for one in result.get("vulns", [])] for result in args["results"]]
        return {package: ids for package, ids in zip(packages, known, strict=True) if ids}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"an answer without {error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Asks, and says what is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default=ADDRESS, help="of the database (default: %(default)s)")
    address, packages = parser.parse_args(arguments).address, installed()
    try:
        found = vulnerabilities(packages, address)
    except (OSError, ValueError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        print(f"audit: skipped, nothing is known of {len(packages)} packages: {address} does not answer ({reason})")
        return 0
    for (name, version), ids in found.items():
        print(f"audit: {name} {version} is vulnerable: {', '.join(ids)}; see https://osv.dev/{ids[0]}")
    print(f"audit: {len(found)} of {len(packages)} packages have known vulnerabilities")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
