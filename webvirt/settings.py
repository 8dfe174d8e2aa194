"""Everything that can be set, from the environment alone; `deploy/webvirt.env.example` lists it.

A bad value stops the start with one line that names the variable.
"""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from webvirt import publicurl

BASE_DIR = Path(__file__).resolve().parent.parent
LOOPBACK = ("localhost", "127.0.0.1", "::1")
SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


def setting(name: str, default: str) -> str:
    """The environment's value of `name`; an empty one counts as not set."""
    return os.environ.get(name, "") or default


def whole_number(name: str, default: int) -> int:
    value = setting(name, str(default))
    if not re.fullmatch(r"\d{1,9}", value):
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.")
    return int(value)


def one_of(name: str, first: str, *others: str) -> str:
    """One of these words; the first when nothing is set."""
    value = setting(name, first)
    if value not in (first, *others):
        raise ImproperlyConfigured(f"{name} must be one of {', '.join((first, *others))}, not {value!r}.")
    return value


def networks(name: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """The networks (or single addresses) that `name` lists, with spaces between."""
    try:
        return tuple(ip_network(word) for word in setting(name, "").split())
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be addresses or networks: {error}.") from None


def public_url(bind: str, port: int) -> publicurl.PublicUrl:
    """What people type; where that is not set, the address that we listen on."""
    own = f"http://[{bind}]:{port}" if ":" in bind else f"http://{bind}:{port}"
    try:
        return publicurl.read(setting("WEBVIRT_PUBLIC_URL", own))
    except ValueError as error:
        raise ImproperlyConfigured(f"WEBVIRT_PUBLIC_URL {error}") from None


def syslog(name: str) -> str:
    """Where a syslog listens, as `udp://host:514`, `tcp://host:601` or `unix:///dev/log`; empty for none."""
    value = setting(name, "")
    try:
        parts = urlsplit(value)
        good = bool(parts.hostname and parts.port) if parts.scheme in ("udp", "tcp") else parts.scheme == "unix"
        if value and not (good and (parts.scheme == "unix") == bool(parts.path.strip("/"))):
            raise ValueError
    except ValueError:
        raise ImproperlyConfigured(
            f"{name} must look like udp://host:514, tcp://host:601 or unix:///dev/log, not {value!r}."
        ) from None
    return value


def secret_key(home: Path) -> str:
    """The installation's key, made by `deploy/run`; refused when others may read it or it is too short."""
    path = home / "secret_key"
    try:
        key = path.read_text().strip()
        mode = path.stat().st_mode
    except OSError as error:
        raise ImproperlyConfigured(f"No secret key at {path} ({error.strerror}): start once with deploy/run.") from None
    if mode & 0o077:
        raise ImproperlyConfigured(f"{path} can be read by others: chmod 600 it.")
    if len(key) < 50:
        raise ImproperlyConfigured(f"{path} is too short: delete it and start with deploy/run.")
    return key


def secret_file(name: str) -> str:
    """The path of a file with a secret in it, which is read when it is needed; refused when others may read it."""
    value = setting(name, "")
    if not value:
        return ""
    path = Path(value)
    try:
        text = path.read_text().strip()
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise ImproperlyConfigured(f"{name}: {path} cannot be read ({error}).") from None
    if mode & 0o077:
        raise ImproperlyConfigured(f"{name}: {path} can be read by others: chmod 600 it.")
    if not text:
        raise ImproperlyConfigured(f"{name}: there is nothing in {path}.")
    return str(path.absolute())


def issuer(name: str) -> str:
    """The address of a provider of OpenID Connect, as it calls itself; empty for none."""
    value = setting(name, "")
    try:
        parts = urlsplit(value)
        good = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
        if value and (not good or not parts.hostname or parts.query or parts.fragment or parts.username):
            raise ValueError
    except ValueError:
        raise ImproperlyConfigured(f"{name} must look like https://login.example.org, not {value!r}.") from None
    return value


def ldap_servers(name: str) -> tuple[str, ...]:
    """The servers of an LDAP directory, in the order in which they are asked; empty for none."""
    words = setting(name, "").split()
    for word in words:
        try:
            parts = urlsplit(word)
            good = parts.scheme in ("ldap", "ldaps") and parts.hostname and not parts.username
            if not good or parts.path.strip("/") or parts.query or parts.fragment or parts.port == 0:
                raise ValueError
        except ValueError:
            raise ImproperlyConfigured(
                f"{name} must look like ldaps://ldap.example.org, or ldap://... for STARTTLS, not {word!r}."
            ) from None
    return tuple(words)


def together(first: str, *others: str) -> None:
    """Settings of which each needs the others."""
    missing = [name for name in (first, *others) if not setting(name, "")]
    if missing and len(missing) <= len(others):
        needed = next(name for name in (first, *others) if name not in missing)
        raise ImproperlyConfigured(f"{needed} is of no use without {' and '.join(missing)}.")


def person_filter(name: str) -> str:
    """The LDAP filter that finds who signs in as `{name}`."""
    value = setting(name, "(|(uid={name})(sAMAccountName={name}))")
    is_one = value.startswith("(") and value.endswith(")") and value.count("(") == value.count(")")
    if not is_one or "{name}" not in value:
        raise ImproperlyConfigured(f"{name} must be a filter in brackets that holds {{name}}, not {value!r}.")
    return value


def distinguished(name: str, default: str = "") -> str:
    """The name of an entry of the LDAP directory."""
    value = setting(name, default)
    if value and not re.fullmatch(r"\s*[A-Za-z0-9.-]+\s*=.+", value):
        raise ImproperlyConfigured(f"{name} must look like ou=people,dc=example,dc=org, not {value!r}.")
    return value


def authorities(name: str) -> str:
    """A file with the certificates of the authorities that are believed; the system's, where none is named."""
    value = setting(name, SYSTEM_AUTHORITIES)
    if value != SYSTEM_AUTHORITIES and not os.access(value, os.R_OK):
        raise ImproperlyConfigured(f"{name}: {value} cannot be read.")
    return value


def mail(url: str) -> dict[str, Any]:
    """Django's settings for the mail server at `smtp://user:password@host:587` (STARTTLS) or `smtps://...`."""
    if not url:
        return {}
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ImproperlyConfigured("WEBVIRT_SMTP must look like smtp://user:password@mail.example.org:587.")
    secure = parts.scheme == "smtps"
    return {
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or (465 if secure else 587),
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": secure,
        # Without encryption only to this very machine.
        "EMAIL_USE_TLS": not secure and parts.hostname not in LOOPBACK,
    }


def database(url: str, home: Path) -> dict[str, Any]:
    """Django's database entry: SQLite under `home` where `url` is empty, else `postgres://user:password@host/name`."""
    if not url:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": home / "webvirt.sqlite3",
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                # Readers never wait for a writer, a writer waits for its turn instead of failing.
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
            },
        }
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql") or not parts.path.strip("/"):
        raise ImproperlyConfigured("DATABASE_URL must look like postgres://user:password@host:5432/name.")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        # Each thread keeps its own, as above. A pool would be shared with what is forked, down to its sockets.
        "CONN_MAX_AGE": None,
        # A server that was restarted has ended what we keep.
        "CONN_HEALTH_CHECKS": True,
    }


# Where this installation lives and how it is reached.
WEBVIRT_HOME = Path(setting("WEBVIRT_HOME", str(BASE_DIR / "var"))).absolute()
WEBVIRT_BIND = setting("WEBVIRT_BIND", "127.0.0.1")
WEBVIRT_PORT = whole_number("WEBVIRT_PORT", 8000)
PUBLIC_URL = public_url(WEBVIRT_BIND, WEBVIRT_PORT)
WEBVIRT_PUBLIC_URL = str(PUBLIC_URL)
WEBVIRT_REDIS = setting("WEBVIRT_REDIS", f"unix://{WEBVIRT_HOME}/run/redis.sock")
WEBVIRT_OPERATION_SECONDS = whole_number("WEBVIRT_OPERATION_SECONDS", 24 * 3600)
WEBVIRT_FETCH_FROM = networks("WEBVIRT_FETCH_FROM")
WEBVIRT_BIN_DAYS = whole_number("WEBVIRT_BIN_DAYS", 14)
WEBVIRT_AUDIT_SYSLOG = syslog("WEBVIRT_AUDIT_SYSLOG")
WEBVIRT_CONSOLES_PER_USER = whole_number("WEBVIRT_CONSOLES_PER_USER", 10)
WEBVIRT_RECORDINGS_DAYS = whole_number("WEBVIRT_RECORDINGS_DAYS", 30)
WEBVIRT_RECORDING_MIB = whole_number("WEBVIRT_RECORDING_MIB", 1024)
WEBVIRT_RECORDINGS_FREE_MIB = whole_number("WEBVIRT_RECORDINGS_FREE_MIB", 1024)
WEBVIRT_SECOND_FACTOR = one_of("WEBVIRT_SECOND_FACTOR", "nobody", "administrators", "everybody")
WEBVIRT_SESSION_HOURS = max(1, whole_number("WEBVIRT_SESSION_HOURS", 8))
WEBVIRT_IDLE_MINUTES = max(1, whole_number("WEBVIRT_IDLE_MINUTES", 30))
WEBVIRT_SMTP = setting("WEBVIRT_SMTP", "")

# Who signs in besides the accounts that are kept here.
together("WEBVIRT_OIDC_ISSUER", "WEBVIRT_OIDC_CLIENT_ID", "WEBVIRT_OIDC_CLIENT_SECRET_FILE")
WEBVIRT_OIDC_ISSUER = issuer("WEBVIRT_OIDC_ISSUER")
WEBVIRT_OIDC_CLIENT_ID = setting("WEBVIRT_OIDC_CLIENT_ID", "")
WEBVIRT_OIDC_CLIENT_SECRET_FILE = secret_file("WEBVIRT_OIDC_CLIENT_SECRET_FILE")
WEBVIRT_OIDC_NAME = setting("WEBVIRT_OIDC_NAME", urlsplit(WEBVIRT_OIDC_ISSUER).hostname or "")
WEBVIRT_OIDC_GROUPS_CLAIM = setting("WEBVIRT_OIDC_GROUPS_CLAIM", "groups")
together("WEBVIRT_LDAP_URL", "WEBVIRT_LDAP_PEOPLE_BASE")
together("WEBVIRT_LDAP_BIND_DN", "WEBVIRT_LDAP_BIND_PASSWORD_FILE")
WEBVIRT_LDAP_URL = ldap_servers("WEBVIRT_LDAP_URL")
WEBVIRT_LDAP_CA_FILE = authorities("WEBVIRT_LDAP_CA_FILE")
WEBVIRT_LDAP_BIND_DN = distinguished("WEBVIRT_LDAP_BIND_DN")
WEBVIRT_LDAP_BIND_PASSWORD_FILE = secret_file("WEBVIRT_LDAP_BIND_PASSWORD_FILE")
WEBVIRT_LDAP_PEOPLE_BASE = distinguished("WEBVIRT_LDAP_PEOPLE_BASE")
WEBVIRT_LDAP_PERSON_FILTER = person_filter("WEBVIRT_LDAP_PERSON_FILTER")
WEBVIRT_LDAP_GROUPS_BASE = distinguished("WEBVIRT_LDAP_GROUPS_BASE", WEBVIRT_LDAP_PEOPLE_BASE)

SECRET_KEY = secret_key(WEBVIRT_HOME)
DEBUG = False
ALLOWED_HOSTS = sorted({PUBLIC_URL.host, "localhost", "127.0.0.1"})
SOCKET_ORIGINS = list(
    dict.fromkeys([PUBLIC_URL.origin, *(f"http://{name}:{WEBVIRT_PORT}" for name in ("localhost", "127.0.0.1"))])
)
"""The public one first. Pages of these, and of no other, may send forms and open sockets."""
CSRF_TRUSTED_ORIGINS = SOCKET_ORIGINS

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "ninja",
    "webvirt",
]
MIDDLEWARE = [
    "webvirt.web.middleware.UnderPath",
    "django.middleware.security.SecurityMiddleware",
    "webvirt.web.middleware.SecurityHeaders",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "webvirt.web.middleware.PersonsLanguage",
    "webvirt.web.middleware.NotesUse",
    "webvirt.web.middleware.RefusesNul",
    "webvirt.web.asking.Asker",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
ROOT_URLCONF = "webvirt.urls"
ASGI_APPLICATION = "webvirt.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.jinja2.Jinja2",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "environment": "webvirt.web.jinja.environment",
            "context_processors": ["webvirt.web.context.frame"],
        },
    },
    # For the packages that bring Django templates of their own.
    {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True},
]

DATABASES = {"default": database(setting("DATABASE_URL", ""), WEBVIRT_HOME)}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

AUTH_USER_MODEL = "webvirt.User"
AUTHENTICATION_BACKENDS = [
    "allauth.account.auth_backends.AuthenticationBackend",
    # After the accounts that are kept here, which need no directory.
    *(["webvirt.web.directories.LdapBackend"] if WEBVIRT_LDAP_URL else []),
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ACCOUNT_ADAPTER = "webvirt.web.accounts.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = False
# Each web process would count for itself: services/guessing.py counts for all.
ACCOUNT_RATE_LIMITS = MFA_RATE_LIMITS = False
ACCOUNT_FORMS = {"change_password": "webvirt.web.accounts.ChangePasswordForm"}
MFA_ADAPTER = "webvirt.web.accounts.FactorAdapter"
MFA_FORMS = {
    "authenticate": "webvirt.web.factorforms.CodeForm",
    "authenticate_webauthn": "webvirt.web.factorforms.PasskeyForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_TOLERANCE = 1
MFA_TOTP_ISSUER = f"webvirt {PUBLIC_URL.host}"
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "overview"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"

SESSION_COOKIE_NAME = f"{PUBLIC_URL.jar}-session"
SESSION_ENGINE = "webvirt.services.sessions"
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = PUBLIC_URL.is_https
CSRF_FAILURE_VIEW = "webvirt.web.errors.csrf_failure"
CSRF_COOKIE_NAME = f"{PUBLIC_URL.jar}-csrf"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Strict"
CSRF_COOKIE_SECURE = PUBLIC_URL.is_https
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
# It binds the whole host, so it is ours to say only where the host is ours.
SECURE_HSTS_SECONDS = 31_536_000 if PUBLIC_URL.is_https and not PUBLIC_URL.path else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

globals().update(mail(WEBVIRT_SMTP))
EMAIL_TIMEOUT = 5
DEFAULT_FROM_EMAIL = setting("WEBVIRT_MAIL_FROM", f"webvirt@{PUBLIC_URL.host}")

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [BASE_DIR / "webvirt" / "locale"]
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
STATIC_ROOT = WEBVIRT_HOME / "static"
STATICFILES_DIRS = [BASE_DIR / "static", WEBVIRT_HOME / "front"]
"""Our own files, and what `deploy/run` copied out of the pinned npm packages."""
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "webvirt.web.assets.HashedStorage"},
}

# Celery carries operations to workers and nothing else: no results, since the operation's row is the truth.
CELERY_BROKER_URL = WEBVIRT_REDIS.replace("unix://", "redis+socket://")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_DISABLE_PREFETCH = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_DEFAULT_QUEUE = "fast"
CELERY_TASK_TIME_LIMIT = WEBVIRT_OPERATION_SECONDS
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # Redelivery only after any operation has ended; claiming makes a second delivery harmless all the same.
    "visibility_timeout": WEBVIRT_OPERATION_SECONDS + 3600,
    # A frozen Redis must not hold a page.
    "socket_timeout": 3,
    "socket_connect_timeout": 1,
    "max_retries": 0,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"}},
    "filters": {"without_links": {"()": "webvirt.logs.WithoutLinks"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["without_links"]}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {"daphne": {"level": "WARNING"}, "django.channels.server": {"level": "WARNING"}},
}
