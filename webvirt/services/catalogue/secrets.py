"""The verbs of secrets, and what they take. A secret's value goes in, and never comes out again."""

from __future__ import annotations

import base64
import binascii
import shlex
from typing import Annotated, Any, Self

from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy
from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.types import SecretSpec, SecretUsage
from webvirt.hypervisor.xml.secrets import check_spec
from webvirt.models import Role, Secret
from webvirt.services import uses
from webvirt.services.catalogue.specs import Spec, one_line
from webvirt.services.catalogue.verb import Group, Verb, shown_uri
from webvirt.services.subjects import Subject

Text = Annotated[str, AfterValidator(one_line)]


class ValueSpec(Spec):
    """The value is text, or `base64` of bytes that may be anything, as Ceph's keys are."""

    value: SecretStr = Field(min_length=1, max_length=8192)
    base64: bool = False

    @model_validator(mode="after")
    def readable(self) -> Self:
        try:
            self.data  # noqa: B018
        except (binascii.Error, ValueError):
            raise ValueError("The value is not Base64.") from None
        return self

    @property
    def data(self) -> bytes:
        """The bytes of the value."""
        text = self.value.get_secret_value()
        return base64.b64decode(text, validate=True) if self.base64 else text.encode()


class CreateSecretSpec(ValueSpec):
    """`usage_id` is what it belongs to: a volume's path, or the name that a pool or a machine calls it by."""

    usage: SecretUsage
    usage_id: Annotated[Text, StringConstraints(max_length=1000)] = ""
    description: Annotated[Text, StringConstraints(max_length=1000)] = ""
    ephemeral: bool = False

    @model_validator(mode="after")
    def possible(self) -> Self:
        try:
            check_spec(self.secret)
        except InvalidSpec as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def secret(self) -> SecretSpec:
        return SecretSpec(self.usage, self.usage_id, self.description, self.ephemeral)


def virsh_create(target: Subject, spec: Any) -> str:
    base = f"virsh -c {shlex.quote(shown_uri(target))}"
    return f"{base} secret-define secret.xml\n{base} secret-set-value UUID --interactive"


def virsh_set_value(target: Subject, spec: Any) -> str:
    return f"{virsh_secret('secret-set-value', target)} --interactive"


def virsh_undefine(target: Subject, spec: Any) -> str:
    return virsh_secret("secret-undefine", target)


def virsh_secret(word: str, target: Subject) -> str:
    """`virsh WORD UUID`: secrets have no names."""
    assert isinstance(target, Secret)
    return f"virsh -c {shlex.quote(shown_uri(target))} {word} {target.uuid}"


VERBS = (
    Verb(
        "secret.create",
        _("Create a secret"),
        Role.ADMINISTRATOR,
        virsh_create,
        spec=CreateSecretSpec,
        exclusive=False,
        made_on="host",
        icon="key",
    ),
    Verb(
        "secret.set_value",
        _("Set another value"),
        Role.ADMINISTRATOR,
        virsh_set_value,
        spec=ValueSpec,
        group=Group.CHANGE,
        icon="key",
    ),
    Verb(
        "secret.undefine",
        pgettext_lazy("verb", "Delete"),
        Role.ADMINISTRATOR,
        virsh_undefine,
        icon="trash",
        danger=_("Its value is lost: nobody can read it, here or on the host."),
        forbids=uses.secret_in_use,
        by_name=True,
    ),
)
