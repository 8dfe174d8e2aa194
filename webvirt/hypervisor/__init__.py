"""The one room that talks to libvirt. It does not know Django.

What crosses its door is a frozen dataclass of `types` or an exception of `errors`.
"""
