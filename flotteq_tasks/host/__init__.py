"""Where commands run: SSH, this machine, and a scripted fake."""
