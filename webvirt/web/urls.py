"""The addresses of the pages."""

from __future__ import annotations

from allauth.account import views as accounts
from django.urls import path

from webvirt.web import consoles, domains, health, hosts, operations, overview, palette, people, profile, scripts, setup

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("vms/", domains.index, name="vms"),
    path("vms/bulk/", domains.bulk, name="vms_bulk"),
    path("vms/<int:pk>/", domains.overview, name="vm"),
    path("vms/<int:pk>/hardware/", domains.hardware, name="vm_hardware"),
    path("vms/<int:pk>/history/", domains.history, name="vm_history"),
    path("vms/<int:pk>/xml/", domains.xml, name="vm_xml"),
    path("vms/<int:pk>/menu/", domains.menu, name="vm_menu"),
    path("vms/<int:pk>/screen.png", domains.screen, name="vm_screen"),
    path("vms/<int:pk>/console/", consoles.tab, name="vm_console"),
    path("vms/<int:pk>/console/window/", consoles.window, name="vm_console_window"),
    path("vms/<int:pk>/<slug:name>/", domains.verb, name="vm_verb"),
    path("hosts/", hosts.index, name="hosts"),
    path("hosts/add/", hosts.add, name="host_add"),
    path("hosts/<int:pk>/", hosts.overview, name="host"),
    path("hosts/<int:pk>/machines/", hosts.machines, name="host_machines"),
    path("hosts/<int:pk>/log/", hosts.log, name="host_log"),
    path("hosts/<int:pk>/<slug:name>/", hosts.verb, name="host_verb"),
    path("operations/", operations.index, name="operations"),
    path("operations/<int:pk>/", operations.detail, name="operation"),
    path("operations/<int:pk>/cancel/", operations.cancel, name="operation_cancel"),
    path("people/", people.index, name="people"),
    path("people/add/", people.add, name="person_add"),
    path("people/<int:pk>/", people.detail, name="person"),
    path("people/<int:pk>/password/", people.password, name="person_password"),
    path("people/<int:pk>/active/", people.active, name="person_active"),
    path("people/<int:pk>/grants/", people.give, name="person_give"),
    path("people/<int:pk>/grants/<int:grant_pk>/withdraw/", people.withdraw, name="person_withdraw"),
    path("me/", profile.page, name="me"),
    path("me/preferences/", profile.preferences, name="me_preferences"),
    path("me/tokens/", profile.add_token, name="me_tokens"),
    path("me/tokens/<int:pk>/revoke/", profile.revoke_token, name="me_revoke"),
    path("me/password/", accounts.password_change, name="account_change_password"),
    path("login/", accounts.login, name="account_login"),
    path("logout/", accounts.logout, name="account_logout"),
    path("setup/<str:token>/", setup.setup, name="setup"),
    path("palette/", palette.palette, name="palette"),
    path("jsi18n/<str:language>/<str:version>.js", scripts.catalog, name="jsi18n"),
    path("healthz", health.healthz, name="healthz"),
]
