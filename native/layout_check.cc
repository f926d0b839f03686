// checkLayout(names: string[], values: number[]): refuses to go on when TypeScript and native code disagree on a number.
#include <cstdio>
#include <cstring>

#include "addon.h"
#include "layout.h"

namespace flowring {

namespace {

struct Number {
  const char* name;
  int32_t value;
};

#define N(name) {#name, name}
constexpr Number kNumbers[] = {
    N(MAGIC), N(ABI_VERSION), N(HEADER_BYTES), N(DESC_BYTES), N(D_FRAME), N(D_DATA), N(D_TOTAL), N(D_REGION_GEN), N(D_OFFSETS),
    N(D_FLAGS_GSO), N(D_SEGS_VLAN), N(D_HASH), N(F_CSUM_OK), N(F_CSUM_PARTIAL), N(F_IPCSUM_OK), N(F_TRAIN), N(F_VLAN), N(F_TX),
    N(F_PARSED), N(F_TCP), N(F_UDP), N(F_ICMP), N(F_FRAGMENT), N(F_MULTICAST), N(F_REDIRECTED), N(F_BAD), N(OWNER_FREE),
    N(OWNER_DEVICE), N(OWNER_BROKER), N(OWNER_RING), N(OWNER_LEASE), N(OWNER_WORKER), N(FT_OFFSET), N(FT_OWNER), N(FT_GENERATION),
    N(FT_NEXT), N(FT_LENGTH), N(FT_COLUMNS), N(RING_TAIL), N(RING_HEAD), N(RING_CAPACITY), N(RING_SLOTS), N(HEADROOM),
    N(TRAIN_LINKS_MAX), N(DESC_WORDS), N(H_FRAMES), N(H_FRAME_BYTES), N(H_REGION), N(H_HEADROOM), N(KIND_FRAME_TABLE),
    N(GENERATION_MASK), N(DROP_BAD_DESCRIPTOR), N(DROP_TRUNCATED), N(DROP_IP_HEADER), N(DROP_IP_CHECKSUM), N(DROP_L4_CHECKSUM),
    N(DROP_TCP_HEADER), N(DROP_UDP_HEADER), N(DROP_ICMP), N(DROP_NO_FRAME), N(DROP_TX_DEVICE), N(DROP_DEVICE_RING),
    N(DROP_REASONS), N(WORK_CSUM), N(WORK_CUT), N(COPY_WORDS), N(COPY_TO_ARENA), N(COPY_FROM_ARENA),
};
#undef N

const Number* find(const char* name) {
  for (const Number& n : kNumbers)
    if (strcmp(n.name, name) == 0) return &n;
  return nullptr;
}

napi_value checkLayout(napi_env env, napi_callback_info info) {
  Args<2> a(env, info);
  uint32_t count = 0;
  if (napi_get_array_length(env, a[0], &count) != napi_ok) return fail(env, "FLOWRING_ABI", "checkLayout wants an array of names and one of values");
  bool seen[sizeof kNumbers / sizeof kNumbers[0]] = {};
  char text[256];
  for (uint32_t i = 0; i < count; i++) {
    napi_value name, value;
    char s[64] = "";
    int32_t v = 0;
    if (napi_get_element(env, a[0], i, &name) != napi_ok || napi_get_element(env, a[1], i, &value) != napi_ok ||
        napi_get_value_string_utf8(env, name, s, sizeof s, nullptr) != napi_ok || napi_get_value_int32(env, value, &v) != napi_ok)
      return fail(env, "FLOWRING_ABI", "checkLayout wants an array of names and one of values");
    const Number* n = find(s);
    if (n == nullptr) {
      snprintf(text, sizeof text, "layout: %s is %d in TypeScript, the addon does not know it; rebuild the addon (node scripts/build-native.mjs --force)", s, v);
      return fail(env, "FLOWRING_ABI", text);
    }
    if (n->value != v) {
      snprintf(text, sizeof text, "layout: %s is %d in TypeScript, %d in the addon; rebuild the addon (node scripts/build-native.mjs --force)", s, v, n->value);
      return fail(env, "FLOWRING_ABI", text);
    }
    seen[n - kNumbers] = true;
  }
  for (const Number& n : kNumbers)
    if (!seen[&n - kNumbers]) {
      snprintf(text, sizeof text, "layout: the addon has %s = %d, TypeScript does not name it; build both from one source tree", n.name, n.value);
      return fail(env, "FLOWRING_ABI", text);
    }
  setLayoutChecked();
  return nullptr;
}

}  // namespace

void registerLayoutCheck(napi_env env, napi_value exports) { define(env, exports, "checkLayout", checkLayout); }

}  // namespace flowring
