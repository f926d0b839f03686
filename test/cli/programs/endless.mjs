// Misbehaves: neither waits nor returns. Only terminate ends it.
console.log('endless: begins');
for (;;);
