package sqlstore

// What the derived migrations make, see package migrations. A store that lacks one of these needs a Reindex, see
// NeedsReindex. Nothing changes these variables.
var (
	derivedTables = []string{"agent", "hash", "hash_run", "audit", "contribution", "attribute", "activity"}

	derivedIndexes = []string{
		"agent_by_hash", "hash_by_hex", "audit_by_query", "audit_by_result", "audit_by_time", "audit_by_agent", "audit_by_subject",
		"contribution_by_assertion", "contribution_by_source", "attribute_by_value",
	}

	derivedViews = []string{"agents", "answers", "audits", "contributions", "attributes", "labels"}
)
