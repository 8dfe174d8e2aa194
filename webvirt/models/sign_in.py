"""Who is signed in, from where and since when; links with which people choose a password; guesses, counted."""

from __future__ import annotations

from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.utils.module_loading import import_string


class LoginSession(AbstractBaseSession):
    """A browser's session, as Django keeps it; signed in where `user` is set. Its row is what signs somebody in."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="login_sessions"
    )
    began_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField()
    address = models.GenericIPAddressField(null=True)
    """Where they signed in from."""
    browser = models.CharField(max_length=300, blank=True, default="")
    """What the browser says of itself (`User-Agent`)."""

    @classmethod
    def get_session_store_class(cls) -> type[SessionStore]:
        store: type[SessionStore] = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
        return store


class PasswordLink(models.Model):
    """A link with which a person chooses a password, once. Only its SHA-256 is kept; a new one replaces it."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="password_link")
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"for {self.user_id}"


class Guesses(models.Model):
    """How much of what may be guessed at one account, or from one address, is used up; and what the log told of it."""

    key = models.CharField(max_length=64, primary_key=True)
    """A keyed hash: the row does not say which account or address it is about."""
    until = models.DateTimeField(db_index=True)
    """Each guess moves this on; when it is past, nothing is left to remember."""

    def __str__(self) -> str:
        return self.key
