"""What tests of fleets stand on, ours and those of whoever writes a backend: machines and clouds."""
