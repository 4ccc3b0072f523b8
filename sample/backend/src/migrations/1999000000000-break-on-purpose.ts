import type { MigrationInterface, QueryRunner } from "typeorm";

export class BreakOnPurpose1999000000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "vehicles" ADD "broken" no_such_type`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "vehicles" DROP COLUMN "broken"`);
  }
}
