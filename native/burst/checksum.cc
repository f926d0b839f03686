#include "checksum.h"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace flowring {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "written for little-endian hosts");

namespace {

// What is left behind whole vectors: `s` and the result are sums of host-order words.
inline uint64_t tail(const uint8_t* p, size_t len, uint64_t s) {
  for (; len >= 4; p += 4, len -= 4) {
    uint32_t v;
    memcpy(&v, p, 4);
    s += v;
  }
  if (len >= 2) {
    uint16_t v;
    memcpy(&v, p, 2);
    s += v;
    p += 2;
    len -= 2;
  }
  if (len != 0) s += *p;
  return s;
}

// The sum of byte-swapped words is the byte-swapped sum (RFC 1071 section 2 (B)).
inline uint32_t finish(uint64_t s) { return swap16(fold(s)); }

#if defined(__x86_64__)
// 32-bit words widened to 64-bit lanes: no carry is ever lost.
__attribute__((target("avx2"))) uint64_t lanes(__m256i a, __m256i b) {
  alignas(32) uint64_t t[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(t), _mm256_add_epi64(a, b));
  return t[0] + t[1] + t[2] + t[3];
}

__attribute__((target("avx2"))) uint32_t sumAvx2(const uint8_t* p, size_t len) {
  if (len < 64) return finish(tail(p, len, 0));
  const __m256i zero = _mm256_setzero_si256();
  __m256i a = zero, b = zero;
  for (; len >= 32; p += 32, len -= 32) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    a = _mm256_add_epi64(a, _mm256_unpacklo_epi32(v, zero));
    b = _mm256_add_epi64(b, _mm256_unpackhi_epi32(v, zero));
  }
  return finish(tail(p, len, lanes(a, b)));
}

__attribute__((target("avx2"))) uint32_t copySumAvx2(uint8_t* to, const uint8_t* from, size_t len) {
  if (len < 64) return copySumScalar(to, from, len);
  const __m256i zero = _mm256_setzero_si256();
  __m256i a = zero, b = zero;
  for (; len >= 32; to += 32, from += 32, len -= 32) {
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), v);
    a = _mm256_add_epi64(a, _mm256_unpacklo_epi32(v, zero));
    b = _mm256_add_epi64(b, _mm256_unpackhi_epi32(v, zero));
  }
  memcpy(to, from, len);
  return finish(tail(from, len, lanes(a, b)));
}
bool hasAvx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") != 0;
}
#else
bool hasAvx2() { return false; }
#define sumAvx2 sumScalar
#define copySumAvx2 copySumScalar
#endif

}  // namespace

uint32_t sumScalar(const uint8_t* p, size_t len) {
  uint64_t s = 0;
  for (; len >= 8; p += 8, len -= 8) {
    uint64_t v;
    memcpy(&v, p, 8);
    s += (v & 0xffffffff) + (v >> 32);
  }
  return finish(tail(p, len, s));
}

uint32_t copySumScalar(uint8_t* to, const uint8_t* from, size_t len) {
  memcpy(to, from, len);
  return sumScalar(to, len);
}

uint32_t (*sumBytes)(const uint8_t*, size_t) = hasAvx2() ? sumAvx2 : sumScalar;
uint32_t (*copySum)(uint8_t*, const uint8_t*, size_t) = hasAvx2() ? copySumAvx2 : copySumScalar;
const char* checksumKind = hasAvx2() ? "avx2" : "scalar";

bool useChecksum(const char* kind) {
  const bool avx2 = strcmp(kind, "avx2") == 0;
  if (avx2 ? !hasAvx2() : strcmp(kind, "scalar") != 0) return false;
  sumBytes = avx2 ? sumAvx2 : sumScalar;
  copySum = avx2 ? copySumAvx2 : copySumScalar;
  checksumKind = avx2 ? "avx2" : "scalar";
  return true;
}

}  // namespace flowring
