"""What the product does, under every door: pages, API, sockets, queue and command line call these."""
