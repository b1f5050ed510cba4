"""What a VM is on this host: how it is started, stopped, found again, and reached by the datapath."""
