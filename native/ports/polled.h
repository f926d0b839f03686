// A device behind one file descriptor that poll(2) takes, with an eventfd beside it that ends a sleep.
#pragma once
#include "../port.h"

namespace flowring {

class PolledDevice : public Device {
 public:
  ~PolledDevice() override;
  bool wait(PortMemory& m, int bellFd, int ms) override;
  int descriptors(int* fds) override;
  void wake() override;
  void close() override;

 protected:
  // poll(2) says POLLERR of the descriptor: what that means, and what keeps the next sleep from ending with it at once.
  virtual void failing(PortMemory& m) = 0;
  // 0 or an errno.
  int makeWake();
  // /dev/null takes the descriptor's place: a broker inside a burst meets it, never somebody else's file.
  void blank();

  int fd_ = -1;
  int wakeFd_ = -1;
  std::atomic<bool> closed_{false};
};

}  // namespace flowring
