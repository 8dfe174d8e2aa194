"""Writes nginx's configuration from the template for this installation, and becomes nginx.

`python -m deploy.nginx [--check]`: with it, only asks nginx whether the configuration is right.
"""

from __future__ import annotations

import ipaddress
import os
import stat
import sys
from pathlib import Path
from string import Template

from webvirt import publicurl

DEPLOY = Path(__file__).resolve().parent


class Conf(Template):
    """nginx has `$` for itself."""

    delimiter = "@"


def render(environment: dict[str, str], *, root: bool, journal: bool) -> str:
    """The whole configuration; raises ValueError, with a sentence, for a setting that cannot be.

    `root` says that we run as root, `journal` that standard output is a socket, which nginx cannot open by name.
    """
    home = environment["WEBVIRT_HOME"]
    bind = environment.get("WEBVIRT_BIND") or "127.0.0.1"
    port = environment.get("WEBVIRT_PORT") or "8000"
    public = public_url(environment)
    proxies = (environment.get("WEBVIRT_TRUSTED_PROXIES") or "").split()
    return Conf((DEPLOY / "nginx.conf").read_text()).substitute(
        home=home,
        run=f"{home}/run",
        deploy=DEPLOY,
        listen=f"[{bind}]:{port}" if ":" in bind else f"{bind}:{port}",
        scheme=public.scheme,
        path=public.path,
        under_path="\n        ".join(under(public.path)),
        transport="max-age=31536000" if public.is_https and not public.path else "",
        # The home may lie where only root can look.
        user="user root;" if root else "",
        access_log="syslog:server=unix:/dev/log,nohostname,tag=webvirt" if journal else "/dev/stdout",
        trusted_proxies="\n    ".join(trust(proxies)),
    )


def public_url(environment: dict[str, str]) -> publicurl.PublicUrl:
    """What people type; where that is not set, none of its parts but the scheme is asked for."""
    try:
        return publicurl.read(environment.get("WEBVIRT_PUBLIC_URL") or "http://localhost")
    except ValueError as error:
        raise ValueError(f"WEBVIRT_PUBLIC_URL {error}") from None


def under(path: str) -> list[str]:
    """The directives that take the path off under which people find us; whoever stands in front may have done so."""
    return [f"rewrite ^{path}$ {path}/ permanent;", f"rewrite ^{path}(/.*)$ $1;"] if path else []


def trust(proxies: list[str]) -> list[str]:
    """The directives that take the client's address from these proxies, given as addresses or networks."""
    try:
        networks = [ipaddress.ip_network(proxy) for proxy in proxies]
    except ValueError as error:
        raise ValueError(f"WEBVIRT_TRUSTED_PROXIES must be addresses or networks: {error}.") from None
    lines = [f"set_real_ip_from {network};" for network in networks]
    return [*lines, "real_ip_header X-Forwarded-For;", "real_ip_recursive on;"] if lines else []


def main() -> None:
    run = Path(os.environ["WEBVIRT_HOME"]) / "run"
    (run / "nginx").mkdir(exist_ok=True)
    conf = run / "nginx.conf"
    journal = stat.S_ISSOCK(os.fstat(sys.stdout.fileno()).st_mode)
    try:
        conf.write_text(render(dict(os.environ), root=os.geteuid() == 0, journal=journal))
    except ValueError as error:
        sys.exit(str(error))
    check = ["-t"] if sys.argv[1:] == ["--check"] else []
    # `-e`: until it has read its configuration, nginx would log where only root may write.
    os.execvp("nginx", ["nginx", *check, "-p", str(run), "-e", "stderr", "-c", str(conf)])


if __name__ == "__main__":
    main()
