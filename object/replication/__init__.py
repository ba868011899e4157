"""How replicas come together: comparing, sending and fetching files, giving up what others hold."""
