package main

// folderMutants take out guards of the folders of stores and of their copies.
var folderMutants = []mutant{
	{"the removal of an empty folder that a copy replaces", "internal/durable/folders.go",
		"		if err := os.Remove(dir); err != nil &&", "		if err := error(nil); err != nil &&",
		"audit", "^TestABackupIntoAnEmptyFolder$", nil},
	{"the refusal of a link in the place of a copy", "internal/durable/folders.go",
		"	case empty.Mode()&fs.ModeSymlink != 0:", "	case false:",
		"internal/durable", "^TestWhatStagedContentReplaces$", nil},
	{"the refusal of a mount point in the place of a copy", "internal/durable/folders.go",
		"	if !sameDevice(empty, around) {", "	if _ = around; false {",
		"faults", "^TestABackupToAMountPointIsRefusedBeforeAnythingIsCopied$", nil},
	{"the names of what a server leaves in a store", "internal/storedir/file.go",
		"	{TokensName, true}, {", "	{",
		"audit", "^TestAServedStoreWithNothingButItsJournalIsRebuilt$", nil},
}
