"""Static files under names with a hash of their content, so that browsers may keep them for ever."""

from __future__ import annotations

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage


class HashedStorage(ManifestStaticFilesStorage):
    """Django's, which also follows the imports of our modules and noVNC's.

    Before `collectstatic` has run (in tests) there is no manifest: files then go by their plain names.
    """

    support_js_module_import_aggregation = True
    manifest_strict = False

    def stored_name(self, name: str) -> str:
        if not self.hashed_files:
            return name
        return super().stored_name(name)
