"""Real things for tests to run against: a guest that boots in two seconds, and second libvirt hosts on one machine."""
