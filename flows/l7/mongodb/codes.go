package mongodb

// codes are the names of the errors that single writes fail with: of those a reply
// tells the number only, of all others the name, too.
var codes = map[int64]string{
	1: "InternalError", 2: "BadValue", 9: "FailedToParse", 11: "UserNotFound", 13: "Unauthorized", 14: "TypeMismatch",
	15: "Overflow", 20: "IllegalOperation", 22: "InvalidBSON", 26: "NamespaceNotFound", 28: "PathNotViable",
	40: "ConflictingUpdateOperators", 43: "CursorNotFound", 47: "NoMatchingDocument", 50: "MaxTimeMSExpired",
	52: "DollarPrefixedFieldName", 53: "InvalidIdField", 54: "NotSingleValueField", 56: "EmptyFieldName",
	57: "DottedFieldName", 61: "ShardKeyNotFound", 63: "StaleShardVersion", 64: "WriteConcernTimeout",
	65: "MultipleErrorsOccurred", 66: "ImmutableField", 72: "InvalidOptions", 73: "InvalidNamespace",
	79: "UnknownReplWriteConcern", 91: "ShutdownInProgress", 96: "OperationFailed", 100: "UnsatisfiableWriteConcern",
	112: "WriteConflict", 115: "CommandNotSupported", 121: "DocumentValidationFailure", 133: "FailedToSatisfyReadPreference",
	166: "CommandNotSupportedOnView", 171: "CannotIndexParallelArrays", 189: "PrimarySteppedDown", 225: "TransactionTooOld",
	251: "NoSuchTransaction", 10003: "CannotGrowDocumentInCappedNamespace", 10058: "LegacyNotPrimary",
	10107: "NotWritablePrimary", 10334: "BSONObjectTooLarge", 11000: "DuplicateKey", 11600: "InterruptedAtShutdown",
	11601: "Interrupted", 11602: "InterruptedDueToReplStateChange", 13388: "StaleConfig", 13435: "NotPrimaryNoSecondaryOk",
	17280: "KeyTooLong",
}
