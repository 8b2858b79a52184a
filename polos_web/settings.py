"""Settings. Everything that a person may want to change comes from the environment or from `.env`; each
such name is documented in `.env.example`."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from csp.constants import NONE, SELF
from dotenv import load_dotenv

from . import database, datadir, embedded, environment, gate, logs
from .problems import Problem

BASE_DIR = Path(__file__).resolve().parent.parent
load_dotenv(Path.cwd() / ".env")

# -- where it listens, and who may use it without a key ----------------------------------------------

POLOS_HOST = environment.text("POLOS_HOST", "127.0.0.1")
POLOS_PORT = environment.whole("POLOS_PORT", 8080, at_least=1, at_most=65535)
POLOS_PUBLIC_URL = environment.text("POLOS_PUBLIC_URL").rstrip("/")
POLOS_ALLOWED_HOSTS = environment.names("POLOS_ALLOWED_HOSTS")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _public_host(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path:
        raise Problem(f"POLOS_PUBLIC_URL is like https://queues.example.com, without a path, not “{url}”.")
    return parts.hostname


_ON_LOOPBACK = _is_loopback(POLOS_HOST)
_PUBLIC_HOSTS = [_public_host(POLOS_PUBLIC_URL)] if POLOS_PUBLIC_URL else []
_LOOPBACK_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
_OWN_HOSTS = [] if _ON_LOOPBACK or POLOS_HOST in ("0.0.0.0", "::") else [POLOS_HOST]  # noqa: S104

ALLOWED_HOSTS = [*_LOOPBACK_HOSTS, *_OWN_HOSTS, *_PUBLIC_HOSTS, *POLOS_ALLOWED_HOSTS]
CSRF_TRUSTED_ORIGINS = [POLOS_PUBLIC_URL] if POLOS_PUBLIC_URL else []
_HTTPS = POLOS_PUBLIC_URL.startswith("https://")

# -- the database ------------------------------------------------------------------------------------

POLOS_DATA_DIR = datadir.prepare(Path(environment.text("POLOS_DATA_DIR") or datadir.default_data_dir()))
DATABASE_URL = environment.text("DATABASE_URL")
POLOS_DSN = database.parse_url(DATABASE_URL) if DATABASE_URL else embedded.dsn(POLOS_DATA_DIR)
POLOS_DB_POOL_SIZE = environment.whole("POLOS_DB_POOL_SIZE", 10, at_least=2, at_most=100)
DATABASES = {"default": database.django_settings(POLOS_DSN, pool_size=POLOS_DB_POOL_SIZE)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Decided here, once; whether a request may use it is asked again for each one.
POLOS_LOCAL_MODE_ALLOWED = _ON_LOOPBACK and not (DATABASE_URL or POLOS_PUBLIC_URL or POLOS_ALLOWED_HOSTS)

# -- the engine --------------------------------------------------------------------------------------

POLOS_DEFAULT_CONCURRENCY_LIMIT = environment.whole_or_none(
    "POLOS_DEFAULT_CONCURRENCY_LIMIT", at_least=0, at_most=1_000_000
)
POLOS_LEASE_SECONDS = environment.seconds("POLOS_LEASE_SECONDS", 30, at_least=1, at_most=3600)
POLOS_HEARTBEAT_SECONDS = environment.seconds("POLOS_HEARTBEAT_SECONDS", 10, at_least=0.1, at_most=1200)
POLOS_SWEEP_SECONDS = environment.seconds("POLOS_SWEEP_SECONDS", 5, at_least=0.1, at_most=600)
POLOS_POLL_SECONDS = environment.seconds("POLOS_POLL_SECONDS", 20, at_least=0.1, at_most=60)
POLOS_RETENTION_DAYS = environment.whole("POLOS_RETENTION_DAYS", 30, at_least=1, at_most=3650)
POLOS_MAX_LOSSES = environment.whole("POLOS_MAX_LOSSES", 10, at_least=1, at_most=1000)
if POLOS_HEARTBEAT_SECONDS * 2 > POLOS_LEASE_SECONDS:
    raise Problem("POLOS_LEASE_SECONDS is at least twice POLOS_HEARTBEAT_SECONDS, so that one may get lost.")

# -- Django ------------------------------------------------------------------------------------------

DEBUG = False
SECRET_KEY = environment.text("POLOS_SECRET_KEY") or datadir.secret(POLOS_DATA_DIR, "secret-key")
ROOT_URLCONF = "polos_web.urls"
ASGI_APPLICATION = "polos_web.asgi.application"
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "template_partials",
    "csp",
    "ninja",  # static files of the API's docs page
    "axes",
    "queues",
    "workflows",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "polos_web.middleware.SignInRequired",
    "polos_web.middleware.NoStore",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "builtins": ["template_partials.templatetags.partials"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True  # no collectstatic step

# -- signing in --------------------------------------------------------------------------------------

LOGIN_URL = "/signin"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/signin"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
_VALIDATORS = ("UserAttributeSimilarity", "MinimumLength", "CommonPassword", "NumericPassword")
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}Validator"} for name in _VALIDATORS
]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_TEMPLATE = "accounts/lockout.html"

# -- what browsers are told --------------------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
        "base-uri": [NONE],
    }
}
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if _HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _HTTPS else None
# Whoever speaks https in front of us redirects to it, and subdomains and preload lists are not ours to decide.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W008", "security.W021"]
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = gate.MAX_API_BYTES  # the gate in front of Django knows which path may send what

# -- logging -----------------------------------------------------------------------------------------

POLOS_LOG_LEVEL = environment.choice(
    "POLOS_LOG_LEVEL", "info", among=("debug", "info", "warning", "error", "critical")
).upper()
LOGGING_CONFIG = None
logs.configure(POLOS_LOG_LEVEL)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "polos_web.settings")
