"""Sources of rows: packaged sets, files, folders and hub data sets, all read as conversations."""
