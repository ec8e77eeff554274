"""What `rabbitgw doctor` looks at below the proxy: settings, stores, books, disk. Nothing is mended here."""
