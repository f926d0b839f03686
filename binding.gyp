{
  'variables': { 'no_v8%': 0 },
  'targets': [{
    'target_name': 'flowring',
    'sources': [
      'native/addon.cc', 'native/layout_check.cc', 'native/region.cc', 'native/sab_v8.cc', 'native/affinity.cc', 'native/clock.cc',
      'native/threadstats.cc', 'native/bell.cc', 'native/watch.cc', 'native/ports.cc', 'native/ports/tap.cc', 'native/ports/packet.cc',
      'native/ports/vnet.cc', 'native/ports/polled.cc', 'native/ports/transmitRing.cc', 'native/link.cc',
      'native/burst/checksum.cc', 'native/burst/inspect.cc', 'native/burst/gather.cc', 'native/burst/calls.cc',
    ],
    'defines': ['NAPI_VERSION=8', '_GNU_SOURCE'],
    # The language standard is node's own (common.gypi): V8's headers want C++17 up to node 22, C++20 from 24 on.
    'cflags_cc': ['-O3', '-Wall', '-Wextra', '-Wno-unused-parameter', '-fvisibility=hidden', '-fno-strict-aliasing'],
    'conditions': [['no_v8==1', { 'defines': ['FLOWRING_NO_V8'] }]],
  }],
}
