/** Names that people choose for records: they stand in paths, files and commands, and read the same everywhere. */
export const SLUG = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
export const SLUG_RULE = 'use 1 to 63 lower-case letters, digits and inner hyphens';
