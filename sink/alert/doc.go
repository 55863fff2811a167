// Package alert tells people, by way of the programs they have for that: a webhook, an
// Alertmanager, a chat that takes Slack's incoming webhooks.
//
//	collector ─ Manager.Tell ─▶ receiver (what it knows, what waits) ─ round ─▶ wire ─▶ HTTP
//
// Tell never waits. Each receiver keeps, by fingerprint, what it was told and what it is
// still to be told; what changes before it is sent is sent as it is by then, so that a
// receiver that was away gets the state of things and not their history. What comes
// within Config.Wait goes in one message, and a round of messages is not begun more often
// than every Config.Every. Everything is bounded and counted, and nothing is on disk:
// what waits at the end of the program is lost, an Alertmanager ends by itself what is
// not repeated to it.
//
// What an alert says comes from the host and may be anybody's (names of processes and
// containers): it is cleaned, cut and quoted as each receiver's format wants it.
package alert
