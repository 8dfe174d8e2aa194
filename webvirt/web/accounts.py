"""Our terms for django-allauth: nobody signs up by themselves, and nobody is sent to another site."""

from __future__ import annotations

from allauth.account.adapter import DefaultAccountAdapter
from django.contrib import messages
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from webvirt.web.actor import client_address


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """django-allauth asks here."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def is_safe_url(self, url: str | None) -> bool:
        return is_own_path(url)

    def get_client_ip(self, request: HttpRequest) -> str:
        address = client_address(request)
        if address is None:
            raise PermissionDenied
        return address

    def respond_user_inactive(self, request: HttpRequest, user: AbstractBaseUser) -> HttpResponse:
        messages.error(request, _("This account is deactivated. An administrator can activate it again."))
        return redirect("account_login")

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return "/me/"

    def add_message(self, request: HttpRequest, level: int, *args: object, **kwargs: object) -> None:
        """Signing in and out shows by itself; only the change of a password deserves a word."""
        if "password_changed" in str(args) + str(kwargs):
            messages.success(request, _("Your password is changed. Your other sessions are signed out."))


def is_own_path(url: str | None) -> bool:
    """Whether it is a path of this site: never another host, however it is spelled."""
    return bool(url) and str(url).startswith("/") and url_has_allowed_host_and_scheme(str(url), allowed_hosts=None)
