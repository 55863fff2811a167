// Package ranges names addresses elsewhere by what files say of them: published
// lists of cloud providers, own lists of networks, and databases in the MaxMind
// format (autonomous system, country).
package ranges
