// What an interface is and does (netdevice(7); include/uapi/linux/ethtool.h), for those who are about to open a port on it.
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "addon.h"

namespace flowring {

namespace {

class Link {
 public:
  explicit Link(const std::string& name) : name_(name), fd_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {}
  ~Link() {
    if (fd_ >= 0) ::close(fd_);
  }
  // 0 or an errno.
  int request(unsigned long code, ifreq& r) const {
    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name_.c_str());
    return ioctl(fd_, code, &r) == 0 ? 0 : errno;
  }
  // A value of ethtool's, 0 where the driver has none.
  uint32_t ethtool(uint32_t command) const {
    ethtool_value v{};
    v.cmd = command;
    ifreq r{};
    r.ifr_data = reinterpret_cast<char*>(&v);
    return request(SIOCETHTOOL, r) == 0 ? v.data : 0;
  }

 private:
  std::string name_;
  int fd_;
};

// linkFacts(name) -> { mtu, mac, up, running, ethernet, loopback, rxChecksum, txChecksum, tso, gro, lro }, or null when there is
// no such interface here.
napi_value linkFacts(napi_env env, napi_callback_info info) {
  Args<1> a(env, info);
  const Link link(a.text(0));
  ifreq r{};
  napi_value o, v;
  if (link.request(SIOCGIFFLAGS, r) != 0) {
    napi_get_null(env, &v);
    return v;
  }
  const int flags = r.ifr_flags;
  napi_create_object(env, &o);
  auto flag = [&](const char* name, bool b) { napi_get_boolean(env, b, &v), set(env, o, name, v); };
  flag("up", (flags & IFF_UP) != 0);
  flag("running", (flags & IFF_RUNNING) != 0);
  flag("loopback", (flags & IFF_LOOPBACK) != 0);
  r = ifreq{};
  const bool addressed = link.request(SIOCGIFHWADDR, r) == 0;
  flag("ethernet", addressed && r.ifr_hwaddr.sa_family == ARPHRD_ETHER);
  const auto* m = reinterpret_cast<const uint8_t*>(r.ifr_hwaddr.sa_data);
  char mac[18];
  snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
  set(env, o, "mac", text(env, mac));
  r = ifreq{};
  set(env, o, "mtu", number(env, link.request(SIOCGIFMTU, r) == 0 ? r.ifr_mtu : 0));
  flag("rxChecksum", link.ethtool(ETHTOOL_GRXCSUM) != 0);
  flag("txChecksum", link.ethtool(ETHTOOL_GTXCSUM) != 0);
  flag("tso", link.ethtool(ETHTOOL_GTSO) != 0);
  flag("gro", link.ethtool(ETHTOOL_GGRO) != 0);
  flag("lro", (link.ethtool(ETHTOOL_GFLAGS) & ETH_FLAG_LRO) != 0);
  return o;
}

}  // namespace

void registerLink(napi_env env, napi_value exports) { define(env, exports, "linkFacts", linkFacts); }

}  // namespace flowring
