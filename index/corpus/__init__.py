"""Reading an image-text corpus (tars, folders, URL tables), and downloading one."""
