/** Who may import whom (ARCHITECTURE.md). `test/rooms.test.ts` holds the code to it, `test/packaging/documents.test.ts` the page. */
export const RULES = [
  'identity',
  'directory',
  'inventory',
  'policy',
  'integrity',
  'approvals',
  'content',
  'sandbox',
  'upstream',
];
export const ARROWS: Record<string, readonly string[]> = {
  lib: [],
  verify: [],
  protocol: ['lib'],
  ...Object.fromEntries(RULES.map((room) => [room, ['lib', 'protocol']])),
  audit: ['lib', 'protocol', 'verify'],
  insight: ['lib', 'protocol', ...RULES, 'audit', 'verify'],
  // Implements ports that rooms declare; reads nothing else of them.
  store: ['lib', 'audit', 'verify'],
  gateway: ['lib', 'protocol', ...RULES, 'audit', 'store'],
  admin: ['lib', 'protocol', ...RULES, 'audit', 'verify', 'store', 'gateway', 'insight'],
  authserver: ['lib', 'identity', 'upstream'],
  scan: ['lib', 'protocol', 'content'],
  cli: ['lib', 'protocol', ...RULES, 'audit', 'verify', 'store', 'gateway', 'admin', 'authserver', 'insight', 'scan'],
};
