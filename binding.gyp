{
  'variables': { 'no_v8%': 0 },
  'targets': [{
    'target_name': 'flowring',
    'sources': [
      'native/addon.cc', 'native/layout_check.cc', 'native/region.cc', 'native/sab_v8.cc', 'native/affinity.cc', 'native/clock.cc',
      'native/threadstats.cc', 'native/bell.cc', 'native/ports.cc', 'native/ports/tap.cc',
      'native/burst/checksum.cc', 'native/burst/inspect.cc', 'native/burst/gather.cc', 'native/burst/calls.cc',
    ],
    'defines': ['NAPI_VERSION=8', '_GNU_SOURCE'],
    'cflags_cc': ['-O3', '-std=c++17', '-Wall', '-Wextra', '-Wno-unused-parameter', '-fvisibility=hidden', '-fno-strict-aliasing'],
    'cflags_cc!': ['-std=gnu++17', '-fno-exceptions'],
    'conditions': [['no_v8==1', { 'defines': ['FLOWRING_NO_V8'] }]],
  }],
}
