package mongodb

import "strings"

// commandOf says how a command is told.
type commandOf struct {
	name       string
	kind       uint8
	collection bool   // its value is the name of a collection
	waits      string // the field of a request that waits; the request is read to its end
}

// commands are those that MongoDB 8 has, and what older ones had, by name.
var commands = known(
	// Their value is a collection.
	`aggregate collMod collStats compact convertToCapped count create createIndexes createSearchIndexes datasize
	deleteIndexes distinct drop dropIndexes dropSearchIndex find geoNear geoSearch group killCursors listIndexes
	listSearchIndexes mapReduce mapreduce parallelCollectionScan planCacheClear planCacheClearFilters
	planCacheListFilters planCacheListPlans planCacheListQueryShapes planCacheSetFilter reIndex updateSearchIndex
	validate`,
	// And they write documents.
	`delete findAndModify findandmodify insert update`,
	// It is something else.
	`abortReshardCollection abortTransaction addShard addShardToZone applyOps appendOplogNote authenticate
	authSchemaUpgrade balancerCollectionStatus balancerStart balancerStatus balancerStop buildInfo buildinfo
	captrunc checkMetadataConsistency checkShardingIndex cleanupOrphaned cleanupReshardCollection clearJumboFlag clone
	cloneCollectionAsCapped commitReshardCollection commitTransaction compactStructuredEncryptionData
	configureFailPoint configureCollectionBalancing connectionStatus connPoolStats connPoolSync copydb coordinateCommitTransaction createRole createUser currentOp
	currentop dataSize dbHash dbhash dbStats dbstats driverOIDTest dropAllRolesFromDatabase
	dropAllUsersFromDatabase dropConnections dropDatabase dropRole dropUser enableSharding endSessions eval explain
	features filemd5 flushRouterConfig forceerror fsync fsyncUnlock getAuditConfig getClusterParameter getCmdLineOpts
	getDefaultRWConcern getDiagnosticData getFreeMonitoringStatus getlasterror getLastError getLog getnonce getParameter
	getpreverror getPrevError getQueryableEncryptionCountInfo getShardMap getShardVersion getShardingReady grantPrivilegesToRole
	grantRolesToRole grantRolesToUser hostInfo invalidateUserCache isdbgrid
	killAllSessions killAllSessionsByPattern killOp killSessions listCollections listCommands listDatabases listShards
	lockInfo logApplicationMessage logout logRotate mergeAllChunksOnShard mergeChunks moveChunk moveCollection movePrimary moveRange
	netstat ping profile refineCollectionShardKey refreshSessions removeShard removeShardFromZone
	renameCollection replSetAbortPrimaryCatchUp replSetFreeze replSetGetConfig replSetGetRBID replSetGetStatus
	replSetHeartbeat replSetInitiate replSetMaintenance replSetReconfig replSetRequestVotes replSetResizeOplog
	replSetStepDown replSetStepUp replSetSyncFrom replSetUpdatePosition resetError reshardCollection
	revokePrivilegesFromRole revokeRolesFromRole revokeRolesFromUser rolesInfo rotateCertificates saslContinue
	saslStart serverStatus setAuditConfig setClusterParameter setDefaultRWConcern setFeatureCompatibilityVersion
	setFreeMonitoring setIndexCommitQuorum setParameter setQuerySettings removeQuerySettings setShardVersion
	setUserWriteBlockMode shardCollection shardConnPoolStats shardingState shutdown split splitChunk splitVector
	startRecordingTraffic startSession startTrafficRecording stopRecordingTraffic stopTrafficRecording top
	transitionFromDedicatedConfigServer transitionToDedicatedConfigServer unsetSharding unshardCollection
	untrackUnshardedCollection updateRole updateUser updateZoneKeyRange usersInfo validateDBMetadata whatsmyuri`,
)

// known reads the lists and adds the commands that are more than a name.
func known(ofCollections, writing, others string) map[string]commandOf {
	m := map[string]commandOf{
		"getMore":   {name: "getMore", waits: "maxTimeMS"},
		"hello":     {name: "hello", waits: "maxAwaitTimeMS"},
		"isMaster":  {name: "isMaster", waits: "maxAwaitTimeMS"},
		"ismaster":  {name: "isMaster", waits: "maxAwaitTimeMS"},
		"bulkWrite": {name: "bulkWrite", kind: bulk},
	}
	for _, name := range strings.Fields(ofCollections) {
		m[name] = commandOf{name: name, collection: true}
	}
	for _, name := range strings.Fields(writing) {
		m[name] = commandOf{name: name, kind: write, collection: true}
	}
	for _, name := range strings.Fields(others) {
		m[name] = commandOf{name: name}
	}
	return m
}
