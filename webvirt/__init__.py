"""webvirt: a virtualization manager in the browser for hosts that run libvirt."""

__version__ = "0.1.0"
