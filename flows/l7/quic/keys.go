package quic

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
)

// salts of RFC 9001 section 5.2 and RFC 9369 section 3.3.1.
var (
	salt1 = []byte{0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a}
	salt2 = []byte{0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9}
)

// keys remove the protection of one direction's Initial packets.
type keys struct {
	aead   cipher.AEAD
	header cipher.Block
	iv     [12]byte
}

// deriveKeys returns the keys of client and server from the destination connection
// id of the client's first Initial packet.
func deriveKeys(version uint32, dst []byte) (k [2]keys, err error) {
	salt, prefix := salt1, "quic "
	if version == version2 {
		salt, prefix = salt2, "quicv2 "
	}
	secret, err := hkdf.Extract(sha256.New, dst, salt)
	if err != nil {
		return k, err
	}
	for i, label := range [...]string{"client in", "server in"} {
		side, err := expand(secret, label, sha256.Size)
		if err != nil {
			return k, err
		}
		if k[i], err = sideKeys(side, prefix); err != nil {
			return k, err
		}
	}
	return k, nil
}

func sideKeys(secret []byte, prefix string) (k keys, err error) {
	key, err := expand(secret, prefix+"key", 16)
	if err != nil {
		return k, err
	}
	iv, err := expand(secret, prefix+"iv", len(k.iv))
	if err != nil {
		return k, err
	}
	hp, err := expand(secret, prefix+"hp", 16)
	if err != nil {
		return k, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return k, err
	}
	if k.aead, err = cipher.NewGCM(block); err != nil {
		return k, err
	}
	k.iv = [12]byte(iv)
	k.header, err = aes.NewCipher(hp)
	return k, err
}

// expand is HKDF-Expand-Label of TLS 1.3 without a context (RFC 8446 section 7.1).
func expand(secret []byte, label string, n int) ([]byte, error) {
	info := append([]byte{byte(n >> 8), byte(n), byte(len("tls13 ") + len(label))}, "tls13 "+label...)
	return hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
}

// maxPacket is the largest Initial packet that is decrypted: that of a jumbo frame
// is never one.
const maxPacket = 2048

// opener has the room in which packets are decrypted.
type opener struct {
	room  [maxPacket]byte
	mask  [aes.BlockSize]byte
	nonce [12]byte
}

// open removes the protection of a packet (RFC 9001 section 5.4) and returns its
// frames, valid until the next call; false: the keys do not fit, or it is none.
func (o *opener) open(k *keys, h *longHeader) ([]byte, bool) {
	const sampleAt = 4
	n := copy(o.room[:], h.packet)
	if n < len(h.packet) || n < h.number+sampleAt+aes.BlockSize {
		return nil, false
	}
	p := o.room[:n]
	k.header.Encrypt(o.mask[:], p[h.number+sampleAt:h.number+sampleAt+aes.BlockSize])
	p[0] ^= o.mask[0] & 0x0f
	size := int(p[0]&3) + 1
	o.nonce = k.iv
	for i := range size {
		p[h.number+i] ^= o.mask[1+i]
		o.nonce[len(o.nonce)-size+i] ^= p[h.number+i]
	}
	body := h.number + size
	plain, err := k.aead.Open(p[body:body], o.nonce[:], p[body:], p[:body])
	return plain, err == nil
}
