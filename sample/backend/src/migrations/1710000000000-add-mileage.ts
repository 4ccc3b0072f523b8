import type { MigrationInterface, QueryRunner } from "typeorm";

export class AddMileage1710000000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "vehicles" ADD "mileage" integer NOT NULL DEFAULT 0`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE "vehicles" DROP COLUMN "mileage"`);
  }
}
