"""The console proxy: carries a guest's screen to a browser, one small process for each console.

`server` listens; `usher` finds out, in a process that can be killed, who is let in and where the display is (`dial`,
`ssh`); `pump` carries the bytes through `frames` and `rfb`; `keeper` watches the leases of all.
"""
