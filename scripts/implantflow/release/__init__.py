"""What goes to the theatre: the package, its checks, its documents."""
