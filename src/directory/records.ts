/** Organisations and people as governed records. Roles are Remit's, never read from a token. */
import { z } from 'zod';

export const ROLES = ['developer', 'operator', 'approver', 'security_reviewer', 'auditor', 'administrator'] as const;
export type Role = (typeof ROLES)[number];

export const Organisation = z.strictObject({
  title: z.string().min(1).max(200),
  /** Issuers whose tokens may speak for people of this organisation. */
  issuers: z.array(z.url()).min(1),
});
export type Organisation = z.infer<typeof Organisation>;

export const Person = z.strictObject({
  issuer: z.url(),
  subject: z.string().min(1).max(255),
  name: z.string().min(1).max(200),
  email: z.email().optional(),
  state: z.enum(['active', 'inactive']),
  roles: z.array(z.enum(ROLES)),
});
export type Person = z.infer<typeof Person>;

/** The unique key of a person: one issuer's subject is one person. */
export const personKey = (issuer: string, subject: string): string => `${issuer} ${subject}`;
