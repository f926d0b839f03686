#include "polled.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace flowring {

PolledDevice::~PolledDevice() {
  if (fd_ >= 0) ::close(fd_);
  if (wakeFd_ >= 0) ::close(wakeFd_);
}

int PolledDevice::makeWake() {
  wakeFd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return wakeFd_ < 0 ? errno : 0;
}

bool PolledDevice::wait(PortMemory& m, int bellFd, int ms) {
  pollfd p[3] = {{fd_, POLLIN, 0}, {wakeFd_, POLLIN, 0}, {bellFd, POLLIN, 0}};
  if (poll(p, bellFd >= 0 ? 3 : 2, ms) <= 0) return false;
  if ((p[0].revents & POLLERR) != 0) failing(m);
  uint64_t rings;
  if ((p[1].revents & POLLIN) != 0 && read(wakeFd_, &rings, sizeof rings) < 0) return false;
  if (bellFd >= 0 && (p[2].revents & POLLIN) != 0 && read(bellFd, &rings, sizeof rings) < 0) return (p[0].revents & POLLIN) != 0;
  return (p[0].revents & POLLIN) != 0 && !closed_.load();
}

int PolledDevice::descriptors(int* fds) {
  fds[0] = fd_;
  fds[1] = wakeFd_;
  return 2;
}

void PolledDevice::wake() {
  const uint64_t one = 1;
  if (wakeFd_ >= 0 && write(wakeFd_, &one, sizeof one) < 0) return;  // EAGAIN: ringing already
}

// The device goes, the number stays ours.
void PolledDevice::close() {
  if (!closed_.exchange(true)) blank();
}

void PolledDevice::blank() {
  if (fd_ < 0) return;
  const int null = ::open("/dev/null", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (null < 0) {
    ::close(fd_);
    fd_ = -1;
    return;
  }
  dup3(null, fd_, O_CLOEXEC);
  ::close(null);
}

}  // namespace flowring
