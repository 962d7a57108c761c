/**
 * The protocol revisions Remit speaks, and what each of them has (PROTOCOL.md A0, L12, L13).
 * Revisions are dates, so their text order is their age. "Modern" carries version and capabilities on every request;
 * "legacy" agrees on them once, by `initialize`.
 */

export type Era = 'modern' | 'legacy';

export const MODERN = '2026-07-28';
export const LATEST_LEGACY = '2025-11-25';

/** What a client may name in the per-request envelope. Legacy revisions never stand here: a client would loop (M3). */
export const MODERN_VERSIONS = [MODERN] as const;
/** What `initialize` can agree on, newest first. */
export const LEGACY_VERSIONS = [LATEST_LEGACY, '2025-06-18', '2025-03-26', '2024-11-05'] as const;

export type ModernVersion = (typeof MODERN_VERSIONS)[number];
export type LegacyVersion = (typeof LEGACY_VERSIONS)[number];
export type ProtocolVersion = ModernVersion | LegacyVersion;

/** First revision that has the feature. */
const SINCE = {
  audio: '2025-03-26',
  toolAnnotations: '2025-03-26',
  completions: '2025-03-26',
  versionHeader: '2025-06-18',
  resourceLink: '2025-06-18',
  structuredContent: '2025-06-18',
  titles: '2025-06-18',
  meta: '2025-06-18',
  /** `annotations.lastModified`. */
  lastModified: '2025-06-18',
  elicitation: '2025-06-18',
  icons: '2025-11-25',
  urlElicitation: '2025-11-25',
  /** Defaults of every primitive, choices with titles, several choices. */
  richForms: '2025-11-25',
  samplingTools: '2025-11-25',
  /** `structuredContent` and `outputSchema` may be any JSON, not only objects. */
  anyJsonOutput: '2026-07-28',
  /** `resultType` on every result, `serverInfo` in its `_meta`. */
  resultType: '2026-07-28',
  cacheHints: '2026-07-28',
  /** `x-mcp-header` in input schemas. */
  paramHeaders: '2026-07-28',
} as const satisfies Record<string, ProtocolVersion>;

export type Feature = keyof typeof SINCE;

export const has = (version: ProtocolVersion, feature: Feature): boolean => version >= SINCE[feature];

export const isModernVersion = (version: string): version is ModernVersion =>
  (MODERN_VERSIONS as readonly string[]).includes(version);

export const isLegacyVersion = (version: string): version is LegacyVersion =>
  (LEGACY_VERSIONS as readonly string[]).includes(version);

/** What to answer to `initialize`: the version asked for if we speak it, else our newest legacy one (L1). */
export const negotiateLegacy = (requested: string): LegacyVersion =>
  isLegacyVersion(requested) ? requested : LATEST_LEGACY;
