"""What a guest reads at its first boot, as files on a small disc: cloud-init's for Linux, Windows Setup's answer file.

Nothing here knows the database or a host: it is told what is wanted, checks it, and gives bytes.
"""
