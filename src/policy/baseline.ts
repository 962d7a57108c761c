/**
 * The policies every organisation starts with: roles against risk classes, default deny for everything not named.
 * The table they amount to is in docs/guides/policy.md, and test/policy/baseline.test.ts holds table and policies together.
 * Ids are stable: they stand in audit entries. Organisations add policies beside these; a `forbid` of theirs always wins.
 */
import type { PolicySource } from './compile.ts';

export const BASELINE: readonly PolicySource[] = [
  {
    id: 'baseline.developer',
    text: `@description("Developers read and write with the tool's scope, where no regulated data is held.")
permit (principal in Remit::Role::"developer", action == Remit::Action::"callTool", resource)
when { [Remit::Risk::"read", Remit::Risk::"write"].contains(resource.risk) }
when { !resource.dataClasses.contains(Remit::DataClass::"regulated") }
when { context.scopeHeld };`,
  },
  {
    id: 'baseline.operator',
    text: `@description("Operators read and write with the tool's scope.")
permit (principal in Remit::Role::"operator", action == Remit::Action::"callTool", resource)
when { [Remit::Risk::"read", Remit::Risk::"write"].contains(resource.risk) }
when { context.scopeHeld };`,
  },
  {
    id: 'baseline.operator-approved',
    text: `@description("Operators run destructive, executing and regulated tools with the scope and an approval of exactly this call.")
permit (principal in Remit::Role::"operator", action == Remit::Action::"callTool", resource)
when { [Remit::Risk::"destructive", Remit::Risk::"execute", Remit::Risk::"regulated"].contains(resource.risk) }
when { context.scopeHeld && context.approved };`,
  },
  {
    id: 'baseline.security-reviewer',
    text: `@description("Security reviewers read with the tool's scope, where no regulated data is held.")
permit (principal in Remit::Role::"security_reviewer", action == Remit::Action::"callTool", resource)
when { resource.risk == Remit::Risk::"read" }
when { !resource.dataClasses.contains(Remit::DataClass::"regulated") }
when { context.scopeHeld };`,
  },
  {
    id: 'baseline.toxic-flow',
    text: `@description("Who has received what strangers may have written, and data that is not for them, sends nothing out and destroys nothing without an approval of exactly this call.")
forbid (principal, action == Remit::Action::"callTool", resource)
when { context.untrusted && context.private }
when { resource.outward || [Remit::Risk::"destructive", Remit::Risk::"execute"].contains(resource.risk) }
unless { context.approved };`,
  },
  {
    id: 'baseline.copied-flow',
    text: `@description("Text that a server with confidential or regulated data gave goes neither out nor to a server that is not for such data, without an approval of exactly this call.")
forbid (principal, action == Remit::Action::"callTool", resource)
when { context.copied }
unless { context.approved };`,
  },
  {
    id: 'baseline.regulated-environments',
    text: `@description("Regulated tools run in staging and production only, whoever asks.")
forbid (principal, action == Remit::Action::"callTool", resource)
when { resource.risk == Remit::Risk::"regulated" }
unless { [Remit::Environment::"staging", Remit::Environment::"production"].contains(resource.environment) };`,
  },
];
