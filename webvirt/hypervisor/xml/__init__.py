"""libvirt's XML by direction: parsed to types, built from specs, edited in place."""
