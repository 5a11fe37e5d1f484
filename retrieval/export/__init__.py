"""What a selection becomes: webdataset tars, URL lists, downloaded images."""
